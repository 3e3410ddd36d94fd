// Typed access to a JSON object's members. The first thing that is wrong is kept with its exact
// path
// ("messages[2].content: expected a string, not a number"); after that everything reads as absent,
// so parsing code needs no error branches. A member that nobody asked for is an error, so nothing
// is silently ignored.
#pragma once

#include <cstdint>
#include <optional>
#include <set>
#include <string>
#include <string_view>

#include "api/errors.h"
#include "api/json.h"

namespace edgewise::api {

// Collects the first problem of a request.
class Problem {
 public:
  void report(std::string_view param, std::string message, std::string code = "invalid_value");
  void report(ApiError error);

  bool is_set() const { return error_.has_value(); }

  const ApiError& error() const { return *error_; }

 private:
  std::optional<ApiError> error_;
};

class Fields {
 public:
  // `path`: "" for the request itself. `value` that is no object is a problem.
  Fields(const JsonValue& value, std::string path, Problem& problem);

  bool has(std::string_view name) const;  // there and not null
  // The member, marked as known; nullptr when absent or null.
  const JsonValue* get(std::string_view name);
  std::optional<bool> boolean(std::string_view name);
  std::optional<std::int64_t> integer(std::string_view name,
                                      std::int64_t lowest,
                                      std::int64_t highest);
  std::optional<double> number(std::string_view name, double lowest, double highest);
  const std::string* string(std::string_view name);
  const std::string* required_string(std::string_view name);
  const JsonValue::Array* array(std::string_view name);
  const JsonValue* object(std::string_view name);

  // Not supported: a problem when there and not null.
  void refuse(std::string_view name, std::string_view why);
  // A problem unless absent, null or one of the strings.
  void accept_only(std::string_view name,
                   std::initializer_list<std::string_view> values,
                   std::string_view why);
  // Members that were not asked for are problems. Last.
  void finish();

  std::string path(std::string_view name) const;

  Problem& problem() { return problem_; }

 private:
  void wrong_type(std::string_view name, std::string_view expected, const JsonValue& value);

  const JsonValue::Object* object_;
  std::string path_;
  Problem& problem_;
  std::set<std::string_view> known_;
};

// The JSON of a request.
tl::expected<JsonValue, ApiError> parse_body(std::string_view body);

}  // namespace edgewise::api
