// One JSON object {"name": .., "arguments": ..} (or "parameters") as it arrives byte by byte: knows
// the name as soon as it is there and hands out the arguments as they come. One thread.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "chat/json_scanner.h"

namespace edgewise::chat {

class CallObject {
 public:
  CallObject() = default;

  // The object is the arguments alone; the name came before it.
  explicit CallObject(std::string name) : name_(std::move(name)), arguments_begin_(0) {}

  enum class Status { kOpen, kComplete, kNotACall };
  // `strict`: a member that calls do not have makes it something else.
  Status push(char c, bool strict);

  const std::optional<std::string>& name() const { return name_; }

  // Whether it is known to be a call: its name and the beginning of its arguments, or its end.
  bool is_recognized() const;
  // What has become known of the arguments (JSON text) since the last time.
  std::string take_arguments();

  bool arguments_taken() const { return taken_; }

  // All text after the arguments that were handed out.
  std::string_view rest() const { return std::string_view(text_).substr(taken_end_); }

 private:
  bool read_member(bool strict);
  bool read_key(bool strict);
  bool begin_value();

  JsonScanner json_;
  std::string text_;
  std::string key_;              // of the member being read at depth 1
  std::size_t value_begin_ = 0;  // of that member
  std::optional<std::string> name_;
  std::optional<std::size_t> arguments_begin_;
  std::optional<std::size_t> arguments_end_;
  bool quoted_ = false;  // the arguments are a string that holds JSON, as some models write it
  bool complete_ = false;
  bool taken_ = false;
  std::size_t taken_end_ = 0;
};

}  // namespace edgewise::chat
