#include "api/fields.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <vector>

namespace edgewise::api {
namespace {

// Names that no client sends by accident are quoted whole; longer ones would only fill logs.
std::string shortened(std::string_view text) {
  constexpr std::size_t kLongest = 100;
  if (text.size() <= kLongest) {
    return std::string(text);
  }
  return std::string(text.substr(0, kLongest)) + "...";
}

}  // namespace

void Problem::report(std::string_view param, std::string message, std::string code) {
  report({.status = 400,
          .message = std::move(message),
          .param = std::string(param),
          .code = std::move(code)});
}

void Problem::report(ApiError error) {
  if (!error_) {
    error_ = std::move(error);
  }
}

Fields::Fields(const JsonValue& value, std::string path, Problem& problem)
    : object_(value.as_object()), path_(std::move(path)), problem_(problem) {
  if (!object_) {
    const std::string where = path_.empty() ? "The request" : path_;
    problem_.report(path_, fmt::format("{}: expected an object, not {}.", where, value.kind_name()),
                    "invalid_type");
  }
}

std::string Fields::path(std::string_view name) const {
  return path_.empty() ? std::string(name) : fmt::format("{}.{}", path_, name);
}

bool Fields::has(std::string_view name) const {
  if (!object_) {
    return false;
  }
  const auto found = std::ranges::find(*object_, name, &JsonValue::Member::name);
  return found != object_->end() && !found->value.is_null();
}

const JsonValue* Fields::get(std::string_view name) {
  known_.insert(name);
  if (!object_ || problem_.is_set()) {
    return nullptr;
  }
  const auto found = std::ranges::find(*object_, name, &JsonValue::Member::name);
  return found == object_->end() || found->value.is_null() ? nullptr : &found->value;
}

void Fields::wrong_type(std::string_view name, std::string_view expected, const JsonValue& value) {
  problem_.report(path(name),
                  fmt::format("{}: expected {}, not {}.", path(name), expected, value.kind_name()),
                  "invalid_type");
}

std::optional<bool> Fields::boolean(std::string_view name) {
  const JsonValue* value = get(name);
  if (value && !value->as_bool()) {
    wrong_type(name, "true or false", *value);
    return std::nullopt;
  }
  return value ? std::optional(*value->as_bool()) : std::nullopt;
}

std::optional<std::int64_t> Fields::integer(std::string_view name,
                                            std::int64_t lowest,
                                            std::int64_t highest) {
  const JsonValue* value = get(name);
  if (!value) {
    return std::nullopt;
  }
  std::optional<std::int64_t> whole;
  if (const auto* exact = value->as_integer()) {
    whole = *exact;
  } else if (value->is_number() &&
             std::abs(value->number()) < 1e15) {  // 16.0, as some clients write it
    const auto rounded = static_cast<std::int64_t>(value->number());
    if (static_cast<double>(rounded) == value->number()) {
      whole = rounded;
    }
  }
  if (!value->is_number()) {
    wrong_type(name, "a whole number", *value);
  } else if (!whole || *whole < lowest || *whole > highest) {
    problem_.report(path(name), fmt::format("{}: must be a whole number from {} to {}.", path(name),
                                            lowest, highest));
  } else {
    return whole;
  }
  return std::nullopt;
}

std::optional<double> Fields::number(std::string_view name, double lowest, double highest) {
  const JsonValue* value = get(name);
  if (!value) {
    return std::nullopt;
  }
  if (!value->is_number()) {
    wrong_type(name, "a number", *value);
    return std::nullopt;
  }
  const double found = value->number();
  if (found < lowest || found > highest) {
    problem_.report(path(name),
                    fmt::format("{}: must be from {} to {}.", path(name), lowest, highest));
    return std::nullopt;
  }
  return found;
}

const std::string* Fields::string(std::string_view name) {
  const JsonValue* value = get(name);
  if (value && !value->as_string()) {
    wrong_type(name, "a string", *value);
    return nullptr;
  }
  return value ? value->as_string() : nullptr;
}

const std::string* Fields::required_string(std::string_view name) {
  const std::string* text = string(name);
  if (!text) {
    problem_.report(path(name), fmt::format("{}: required, and must be a string.", path(name)),
                    "missing_required_parameter");
  }
  return text;
}

const JsonValue::Array* Fields::array(std::string_view name) {
  const JsonValue* value = get(name);
  if (value && !value->as_array()) {
    wrong_type(name, "an array", *value);
    return nullptr;
  }
  return value ? value->as_array() : nullptr;
}

const JsonValue* Fields::object(std::string_view name) {
  const JsonValue* value = get(name);
  if (value && !value->as_object()) {
    wrong_type(name, "an object", *value);
    return nullptr;
  }
  return value;
}

void Fields::refuse(std::string_view name, std::string_view why) {
  if (get(name)) {
    problem_.report(path(name), fmt::format("{}: not supported: {}.", path(name), why),
                    "unsupported_parameter");
  }
}

void Fields::accept_only(std::string_view name,
                         std::initializer_list<std::string_view> values,
                         std::string_view why) {
  const std::string* text = string(name);
  if (text && std::ranges::find(values, *text) == values.end()) {
    problem_.report(path(name),
                    fmt::format("{}: only \"{}\" is supported: {}.", path(name),
                                fmt::join(values, "\" or \""), why),
                    "unsupported_value");
  }
}

void Fields::finish() {
  if (!object_) {
    return;
  }
  for (const JsonValue::Member& member : *object_) {
    if (!known_.contains(member.name)) {
      const std::string name = shortened(path(member.name));
      problem_.report(
          name,
          fmt::format("Unknown parameter: {}. This server refuses what it does not know instead of "
                      "ignoring it.",
                      name),
          "unknown_parameter");
      return;
    }
  }
}

tl::expected<JsonValue, ApiError> parse_body(std::string_view body) {
  if (body.empty()) {
    return tl::unexpected(ApiError{.status = 400,
                                   .message = "The request has no body; a JSON object is expected.",
                                   .code = "invalid_json"});
  }
  auto value = parse_json(body);
  if (!value) {
    return tl::unexpected(ApiError{.status = 400,
                                   .message = "The request's body: " + value.error().message + ".",
                                   .code = "invalid_json"});
  }
  return std::move(*value);
}

}  // namespace edgewise::api
