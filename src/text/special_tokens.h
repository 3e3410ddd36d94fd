// Cuts text at the tokens that are matched as they are spelled, before any other step: user-defined
// tokens always, control and unknown tokens when the caller allows it. Immutable; any thread.
//
// Where matches overlap, the longest token wins wherever it stands (GGUF's semantics as llama.cpp
// defines them), not the leftmost.
#pragma once

#include <string_view>
#include <vector>

#include "base/ids.h"
#include "text/vocabulary.h"

namespace edgewise::text {

struct Fragment {
  std::string_view text;  // ordinary text when token < 0
  TokenId token = -1;
};

class SpecialTokens {
 public:
  // Which neighbouring white space a token takes with it.
  struct Strip {
    TokenId token;
    bool left;
    bool right;
  };

  // Keeps a pointer to `vocabulary`, which must outlive this object and not move.
  SpecialTokens(const Vocabulary& vocabulary, std::vector<Strip> strips);

  bool any_takes_white_space() const { return !strips_.empty(); }

  std::vector<Fragment> split(std::string_view text, bool parse_special) const;

 private:
  // Marks in `seen` the tokens that occur anywhere in `text`.
  void find_occurring(std::string_view text, std::vector<bool>& seen) const;

  const Vocabulary* vocabulary_;
  std::vector<TokenId>
      by_text_;  // sorted by text: the tokens that share a beginning are neighbours
  std::vector<std::uint32_t> first_byte_ranges_;  // [257] into by_text_
  std::vector<Strip> strips_;                     // sorted by token
};

}  // namespace edgewise::text
