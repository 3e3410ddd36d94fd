#include "chat/call_object.h"

namespace edgewise::chat {
namespace {

bool is_call_member(std::string_view key) {
  return key == "name" || key == "arguments" || key == "parameters" || key == "id" || key == "type";
}

}  // namespace

CallObject::Status CallObject::push(char c, bool strict) {
  text_.push_back(c);
  const JsonScanner::Status status = json_.push(c);
  if (status == JsonScanner::Status::kInvalid || !read_member(strict)) {
    return Status::kNotACall;
  }
  complete_ = status == JsonScanner::Status::kComplete;
  if (complete_ && !name_.has_value()) {
    return Status::kNotACall;
  }
  return complete_ ? Status::kComplete : Status::kOpen;
}

// False: this object is no call.
bool CallObject::read_member(bool strict) {
  using Event = JsonScanner::Event;
  const Event event = json_.event();
  const bool arguments_alone = arguments_begin_ == 0U;
  if (arguments_alone) {
    if (event == Event::kContainerEnd && json_.depth() == 0) {
      arguments_end_ = text_.size();
    }
    return true;
  }
  switch (event) {
    case Event::kKeyEnd:
      return json_.depth() != 1 || read_key(strict);
    case Event::kValueBegin:
      return begin_value();
    case Event::kStringEnd:
    case Event::kContainerEnd:
      break;
    case Event::kNone:
      return true;
  }
  if (json_.depth() != 1) {
    return true;
  }
  if (arguments_begin_ == value_begin_ && !arguments_end_.has_value()) {
    arguments_end_ = text_.size();
    return !quoted_ || unquote_json(std::string_view(text_).substr(value_begin_)).has_value();
  }
  if (key_ == "name" && event == Event::kStringEnd) {
    name_ = unquote_json(std::string_view(text_).substr(value_begin_));
    return name_.has_value() && !name_->empty();
  }
  return true;
}

bool CallObject::read_key(bool strict) {
  const std::size_t quote = text_.rfind('"', text_.size() - 2);
  const bool escaped = text_[quote - 1] == '\\';  // no key of a call has a quote in it
  key_ = escaped ? "" : text_.substr(quote + 1, text_.size() - quote - 2);
  return !strict || is_call_member(key_);
}

bool CallObject::begin_value() {
  const char first = text_.back();
  const bool is_container = first == '{' || first == '[';
  if (json_.depth() != (is_container ? 2U : 1U)) {
    return true;  // deeper inside
  }
  value_begin_ = text_.size() - 1;
  if (key_ == "name") {
    return first == '"';
  }
  if (key_ != "arguments" && key_ != "parameters") {
    return true;
  }
  if (first == '{' || first == '"') {
    quoted_ = first == '"';
    arguments_begin_ = value_begin_;
    return true;
  }
  return first == 'n';  // null: no arguments
}

bool CallObject::is_recognized() const {
  if (!name_.has_value()) {
    return false;
  }
  return complete_ || (arguments_begin_.has_value() && (!quoted_ || arguments_end_.has_value()));
}

std::string CallObject::take_arguments() {
  if (!is_recognized()) {
    return {};
  }
  const bool first_time = !taken_;
  taken_ = true;
  if (!arguments_begin_.has_value()) {
    taken_end_ = text_.size();
    return first_time ? "{}" : "";
  }
  const std::size_t begin = first_time ? *arguments_begin_ : taken_end_;
  const std::size_t end = arguments_end_.value_or(text_.size());
  if (end <= begin) {
    return {};
  }
  taken_end_ = end;
  const std::string_view part = std::string_view(text_).substr(begin, end - begin);
  return quoted_ ? unquote_json(part).value_or("") : std::string(part);
}

}  // namespace edgewise::chat
