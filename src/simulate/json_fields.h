// Reads the fields of a JSON object: each is a number, text or list as asked, or an error that says where. A field
// that nobody asked for is an error too.
#pragma once

#include <boost/json.hpp>
#include <cstdint>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace edgewise::simulate {

class JsonFields {
 public:
  // `where` names the object in errors, for example "nodes[2]".
  static Result<JsonFields> of(const boost::json::value& value, std::string where);

  bool has(std::string_view key) const { return object_->contains(key); }

  const std::string& where() const { return where_; }

  // Each notes that the field is known. With a fallback it may be missing.
  Result<double> number(std::string_view key, double least);
  Result<double> number_or(std::string_view key, double fallback, double least);
  Result<std::int64_t> integer(std::string_view key, std::int64_t least);
  Result<std::int64_t> integer_or(std::string_view key, std::int64_t fallback, std::int64_t least);
  Result<std::string> text(std::string_view key);
  Result<std::string> text_or(std::string_view key, std::string fallback);
  Result<std::vector<std::int64_t>> integers(std::string_view key, std::int64_t least);
  Result<std::vector<double>> pair(std::string_view key, double least);  // ascending
  Result<std::vector<JsonFields>> objects(std::string_view key);         // empty when missing
  Result<JsonFields> object(std::string_view key);
  const boost::json::value* raw(std::string_view key);

  // Fails when the object has a field that was not read. "notes" may always be there.
  Result<void> expect_no_others() const;

 private:
  JsonFields(const boost::json::object& object, std::string where)
      : object_(&object), where_(std::move(where)) {}

  const boost::json::object* object_;
  std::string where_;
  std::set<std::string, std::less<>> known_ = {"notes"};
};

// A document, or an error with the line.
Result<boost::json::value> parse_json(std::string_view text);

}  // namespace edgewise::simulate
