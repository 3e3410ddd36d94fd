// JSON text ⇄ values that remember what clients sent: the order of members, and integers as
// integers.
//
// Text from outside is hostile: depth, size in values, duplicate names, invalid UTF-8 and numbers
// that no double holds are errors with the place where they are. Any thread.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "base/result.h"

namespace edgewise::api {

class JsonValue {
 public:
  struct Member;
  using Array = std::vector<JsonValue>;
  using Object = std::vector<Member>;

  JsonValue();
  explicit JsonValue(bool value);
  explicit JsonValue(std::int64_t value);
  explicit JsonValue(double value);
  explicit JsonValue(std::string value);
  explicit JsonValue(Array value);
  explicit JsonValue(Object value);

  bool is_null() const { return std::holds_alternative<std::monostate>(value_); }

  bool is_number() const {
    return as_integer() != nullptr || std::holds_alternative<double>(value_);
  }

  const bool* as_bool() const { return std::get_if<bool>(&value_); }

  const std::int64_t* as_integer() const { return std::get_if<std::int64_t>(&value_); }

  double number() const;  // requires is_number()

  const std::string* as_string() const { return std::get_if<std::string>(&value_); }

  const Array* as_array() const { return std::get_if<Array>(&value_); }

  const Object* as_object() const { return std::get_if<Object>(&value_); }

  // Of an object; nullptr when it is none or has no such member.
  const JsonValue* find(std::string_view name) const;

  // "null", "a boolean", "a number", "a string", "an array", "an object": for messages.
  std::string_view kind_name() const;

 private:
  // Integers that do not fit 64 bits are doubles.
  std::variant<std::monostate, bool, std::int64_t, double, std::string, Array, Object> value_;
};

struct JsonValue::Member {
  std::string name;
  JsonValue value;
};

// Here, where Member is complete.
inline JsonValue::JsonValue() = default;

inline JsonValue::JsonValue(bool value) : value_(value) {}

inline JsonValue::JsonValue(std::int64_t value) : value_(value) {}

inline JsonValue::JsonValue(double value) : value_(value) {}

inline JsonValue::JsonValue(std::string value) : value_(std::move(value)) {}

inline JsonValue::JsonValue(Array value) : value_(std::move(value)) {}

inline JsonValue::JsonValue(Object value) : value_(std::move(value)) {}

struct JsonLimits {
  std::size_t max_depth = 128;
  std::size_t max_values = 2'000'000;  // each takes about 40 bytes
};

Result<JsonValue> parse_json(std::string_view text, JsonLimits limits = {});

// As parse_json, for text that must be an object.
Result<JsonValue> parse_json_object(std::string_view text, JsonLimits limits = {});

}  // namespace edgewise::api
