// Writes JSON text: commas and escapes right by construction. Strings that are not UTF-8 get U+FFFD
// in place of what is broken; numbers are the shortest text that reads back the same; NaN and
// infinity become null.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "api/json.h"

namespace edgewise::api {

class JsonWriter {
 public:
  JsonWriter& begin_object() { return open('{'); }

  JsonWriter& end_object() { return close('}'); }

  JsonWriter& begin_array() { return open('['); }

  JsonWriter& end_array() { return close(']'); }

  JsonWriter& key(std::string_view name);
  JsonWriter& string(std::string_view value);
  JsonWriter& integer(std::int64_t value);
  JsonWriter& number(double value);
  JsonWriter& number(float value);  // shortest for a float
  JsonWriter& boolean(bool value);
  JsonWriter& null();
  JsonWriter& value(const JsonValue& value);
  JsonWriter& raw(std::string_view json);  // already JSON

  std::string take() { return std::move(text_); }

  const std::string& text() const { return text_; }

 private:
  JsonWriter& open(char bracket);
  JsonWriter& close(char bracket);
  void separate();

  std::string text_;
  bool needs_comma_ = false;
};

std::string to_json(const JsonValue& value);

}  // namespace edgewise::api
