#include "conversation.h"

#include "json_writer.h"

namespace edgewise::app {
namespace {

constexpr std::string_view kSystem = "system";

}  // namespace

void Conversation::set_system(std::string text) {
  if (!messages_.empty() && messages_[0].role == kSystem) {
    messages_.erase(messages_.begin());
  }
  if (!text.empty()) {
    messages_.insert(messages_.begin(), {std::string(kSystem), std::move(text)});
  }
}

void Conversation::clear() {
  const bool has_system = !messages_.empty() && messages_[0].role == kSystem;
  messages_.resize(has_system ? 1 : 0);
}

std::string Conversation::to_json() const {
  JsonWriter json;
  json.begin_array();
  for (const Message& message : messages_) {
    json.begin_object();
    json.field("role", message.role);
    json.field("content", message.content);
    json.end_object();
  }
  json.end_array();
  return std::string(json.text());
}

}  // namespace edgewise::app
