// The messages of a conversation, as a chat template takes them.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace edgewise::app {

struct Message {
  std::string role;  // "system", "user", "assistant"
  std::string content;
};

class Conversation {
 public:
  void set_system(std::string text);  // empty: none

  void add(std::string role, std::string content) {
    messages_.push_back({std::move(role), std::move(content)});
  }

  void drop_last() { messages_.pop_back(); }

  void clear();  // keeps the system message

  const std::vector<Message>& messages() const { return messages_; }

  std::string to_json() const;  // OpenAI's array of messages

 private:
  std::vector<Message> messages_;
};

}  // namespace edgewise::app
