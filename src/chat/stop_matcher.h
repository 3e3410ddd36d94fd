// Finds the first stop string in text that arrives in pieces, and holds back what could become one.
// The result does not depend on how the text is cut: the stop string that is complete first wins,
// the longest of those that end at the same byte. Aho and Corasick 1975. One thread.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace edgewise::chat {

class StopMatcher {
 public:
  explicit StopMatcher(std::vector<std::string> stops);  // empty strings are ignored

  // Text that is certainly not part of a stop string. After a match: nothing more.
  std::string push(std::string_view text);
  std::string finish();  // what is still held back

  const std::optional<std::string>& matched() const { return matched_; }

 private:
  struct Node {
    std::map<char, int> next;
    int fallback = 0;  // node of the longest proper suffix that is also a prefix of a stop string
    std::int64_t depth = 0;  // bytes matched in this node
    int stop = -1;           // index of the longest stop string that ends here
  };

  int follow(int node, char c) const;
  void link();

  std::vector<std::string> stops_;
  std::vector<Node> nodes_;
  int node_ = 0;
  std::string held_;
  std::optional<std::string> matched_;
};

}  // namespace edgewise::chat
