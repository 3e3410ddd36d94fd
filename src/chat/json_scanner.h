// Reads one JSON object or array byte by byte and says when it is complete or can no longer become
// valid (RFC 8259, strictly: what passes, every client's parser accepts). Knows nothing of the
// values. One thread.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace edgewise::chat {

class JsonScanner {
 public:
  enum class Status { kOpen, kComplete, kInvalid };
  // What the last byte did.
  enum class Event { kNone, kKeyEnd, kValueBegin, kStringEnd, kContainerEnd };

  Status push(char c);

  Event event() const { return event_; }

  // Containers open after the last byte.
  std::size_t depth() const { return stack_.size(); }

 private:
  enum class State {
    kStart,
    kValue,
    kFirstValueOrEnd,
    kFirstKeyOrEnd,
    kKey,
    kColon,
    kCommaOrEnd,
    kString,
    kEscape,
    kUnicode,
    kLiteral,
    // The parts of a number, which come last: step() asks for ">= kMinus".
    kMinus,
    kZero,
    kDigits,
    kPoint,
    kFraction,
    kExponent,
    kExponentSign,
    kExponentDigits,
  };

  bool step(char c);
  bool step_structure(char c);
  bool step_string(char c);
  bool step_number(char c, bool& consumed);
  bool begin_value(char c);
  bool close(char c);

  State state_ = State::kStart;
  Event event_ = Event::kNone;
  std::vector<char> stack_;  // '{' or '['
  bool string_is_key_ = false;
  int hex_digits_left_ = 0;
  std::string_view literal_left_;
  bool complete_ = false;
};

// The text that a JSON string literal (with its quotes) stands for; nullopt: not a valid literal.
std::optional<std::string> unquote_json(std::string_view literal);

// The other way round.
std::string quote_json(std::string_view text);

}  // namespace edgewise::chat
