#include "simulate/json_fields.h"

#include <algorithm>

namespace edgewise::simulate {
namespace json = boost::json;

Result<JsonFields> JsonFields::of(const json::value& value, std::string where) {
  const json::object* object = value.if_object();
  if (object == nullptr) {
    return fail(ErrorCode::kInvalidArgument, "{} is not a JSON object", where);
  }
  return JsonFields(*object, std::move(where));
}

const json::value* JsonFields::raw(std::string_view key) {
  known_.insert(std::string(key));
  return object_->if_contains(key);
}

Result<double> JsonFields::number(std::string_view key, double least) {
  const json::value* value = raw(key);
  if (value == nullptr) {
    return fail(ErrorCode::kInvalidArgument, "{} has no \"{}\"", where_, key);
  }
  if (!value->is_number()) {
    return fail(ErrorCode::kInvalidArgument, "{}: \"{}\" is not a number", where_, key);
  }
  const auto number = value->to_number<double>();
  if (number < least) {
    return fail(ErrorCode::kInvalidArgument, "{}: \"{}\" is {}, less than {}", where_, key, number,
                least);
  }
  return number;
}

Result<double> JsonFields::number_or(std::string_view key, double fallback, double least) {
  return raw(key) == nullptr ? Result<double>(fallback) : number(key, least);
}

Result<std::int64_t> JsonFields::integer(std::string_view key, std::int64_t least) {
  const double value = TRY(number(key, static_cast<double>(least)));
  if (value != static_cast<double>(static_cast<std::int64_t>(std::min(value, 1e15)))) {
    return fail(ErrorCode::kInvalidArgument, "{}: \"{}\" is not a whole number", where_, key);
  }
  return static_cast<std::int64_t>(value);
}

Result<std::int64_t> JsonFields::integer_or(std::string_view key,
                                            std::int64_t fallback,
                                            std::int64_t least) {
  return raw(key) == nullptr ? Result<std::int64_t>(fallback) : integer(key, least);
}

Result<std::string> JsonFields::text(std::string_view key) {
  const json::value* value = raw(key);
  if (value == nullptr || !value->is_string()) {
    return fail(ErrorCode::kInvalidArgument, "{} has no text \"{}\"", where_, key);
  }
  return std::string(value->as_string());
}

Result<std::string> JsonFields::text_or(std::string_view key, std::string fallback) {
  return raw(key) == nullptr ? Result<std::string>(std::move(fallback)) : text(key);
}

Result<std::vector<std::int64_t>> JsonFields::integers(std::string_view key, std::int64_t least) {
  const json::value* value = raw(key);
  if (value == nullptr || !value->is_array() || value->as_array().empty()) {
    return fail(ErrorCode::kInvalidArgument, "{} has no list \"{}\"", where_, key);
  }
  std::vector<std::int64_t> numbers;
  for (const json::value& item : value->as_array()) {
    if (!item.is_int64() || item.as_int64() < least) {
      return fail(ErrorCode::kInvalidArgument,
                  "{}: \"{}\" holds something else than whole numbers of at least {}", where_, key,
                  least);
    }
    numbers.push_back(item.as_int64());
  }
  return numbers;
}

Result<std::vector<double>> JsonFields::pair(std::string_view key, double least) {
  const json::value* value = raw(key);
  const json::array* items = value == nullptr ? nullptr : value->if_array();
  if (items == nullptr || items->size() != 2 || !items->at(0).is_number() ||
      !items->at(1).is_number()) {
    return fail(ErrorCode::kInvalidArgument, "{}: \"{}\" is not a pair of numbers", where_, key);
  }
  std::vector<double> numbers = {items->at(0).to_number<double>(),
                                 items->at(1).to_number<double>()};
  if (numbers[0] < least || numbers[1] < numbers[0]) {
    return fail(ErrorCode::kInvalidArgument, "{}: \"{}\" has to ascend from at least {}", where_,
                key, least);
  }
  return numbers;
}

Result<std::vector<JsonFields>> JsonFields::objects(std::string_view key) {
  std::vector<JsonFields> all;
  const json::value* value = raw(key);
  if (value == nullptr) {
    return all;
  }
  if (!value->is_array()) {
    return fail(ErrorCode::kInvalidArgument, "{}: \"{}\" is not a list", where_, key);
  }
  for (std::size_t i = 0; i < value->as_array().size(); ++i) {
    all.push_back(TRY(of(value->as_array()[i], fmt::format("{}[{}]", key, i))));
  }
  return all;
}

Result<JsonFields> JsonFields::object(std::string_view key) {
  const json::value* value = raw(key);
  if (value == nullptr) {
    return fail(ErrorCode::kInvalidArgument, "{} has no \"{}\"", where_, key);
  }
  return of(*value, fmt::format("{} of {}", key, where_));
}

Result<void> JsonFields::expect_no_others() const {
  for (const auto& field : *object_) {
    if (!known_.contains(std::string_view(field.key()))) {
      return fail(ErrorCode::kInvalidArgument, "{} has an unknown field \"{}\"", where_,
                  std::string_view(field.key()));
    }
  }
  return {};
}

Result<json::value> parse_json(std::string_view text) {
  boost::system::error_code error;
  json::stream_parser parser;
  const std::size_t read = parser.write_some(text, error);
  if (!error && text.find_first_not_of(" \t\r\n", read) == std::string_view::npos) {
    parser.finish(error);
    if (!error) {
      return parser.release();
    }
  }
  const auto line =
      1 + std::count(text.begin(),
                     text.begin() + static_cast<std::ptrdiff_t>(std::min(read, text.size())), '\n');
  return fail(ErrorCode::kCorrupt, "line {} is not JSON{}{}", line, error ? ": " : "",
              error ? error.message() : "");
}

}  // namespace edgewise::simulate
