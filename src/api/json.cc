#include "api/json.h"

#include <algorithm>
#include <boost/json/basic_parser_impl.hpp>
#include <charconv>
#include <optional>
#include <unordered_set>

#include "text/unicode.h"

namespace edgewise::api {
namespace {

namespace bj = boost::json;
using ErrorCodeBoost = boost::json::error_code;

// Builds a JsonValue from the parser's events. Boost.JSON calls the on_* names and reads the two
// limits.
class Builder {
 public:
  static constexpr std::size_t max_object_size = static_cast<std::size_t>(-1);
  static constexpr std::size_t max_array_size = static_cast<std::size_t>(-1);
  static constexpr std::size_t max_key_size = static_cast<std::size_t>(-1);
  static constexpr std::size_t max_string_size = static_cast<std::size_t>(-1);

  explicit Builder(std::size_t max_values) : max_values_(max_values) {}

  bool on_document_begin(ErrorCodeBoost&) { return true; }

  bool on_document_end(ErrorCodeBoost&) { return true; }

  bool on_object_begin(ErrorCodeBoost&) { return open(true); }

  bool on_array_begin(ErrorCodeBoost&) { return open(false); }

  bool on_object_end(std::size_t, ErrorCodeBoost& ec) {
    Frame frame = take_frame();
    if (const auto twice = duplicate(frame.members)) {
      return fail_with(ec, fmt::format("the member \"{:.200}\" is there twice", *twice));
    }
    return add(JsonValue(std::move(frame.members)), ec);
  }

  bool on_array_end(std::size_t, ErrorCodeBoost& ec) {
    return add(JsonValue(std::move(take_frame().elements)), ec);
  }

  bool on_key_part(bj::string_view part, std::size_t, ErrorCodeBoost&) { return append(part); }

  bool on_key(bj::string_view part, std::size_t, ErrorCodeBoost&) {
    append(part);
    stack_.back().key = std::exchange(text_, {});
    return true;
  }

  bool on_string_part(bj::string_view part, std::size_t, ErrorCodeBoost&) { return append(part); }

  bool on_string(bj::string_view part, std::size_t, ErrorCodeBoost& ec) {
    append(part);
    return add(JsonValue(std::exchange(text_, {})), ec);
  }

  bool on_number_part(bj::string_view part, ErrorCodeBoost&) { return append(part); }

  bool on_int64(std::int64_t value, bj::string_view, ErrorCodeBoost& ec) {
    text_.clear();
    return add(JsonValue(value), ec);
  }

  bool on_uint64(std::uint64_t, bj::string_view part, ErrorCodeBoost& ec) {
    return add_real(part, ec);
  }

  bool on_double(double, bj::string_view part, ErrorCodeBoost& ec) { return add_real(part, ec); }

  bool on_bool(bool value, ErrorCodeBoost& ec) { return add(JsonValue(value), ec); }

  bool on_null(ErrorCodeBoost& ec) { return add(JsonValue(), ec); }

  bool on_comment_part(bj::string_view, ErrorCodeBoost&) { return true; }

  bool on_comment(bj::string_view, ErrorCodeBoost&) { return true; }

  JsonValue& root() { return root_; }

  const std::string& problem() const { return problem_; }

 private:
  struct Frame {
    bool is_object = false;
    std::string key;
    JsonValue::Object members;
    JsonValue::Array elements;
  };

  bool open(bool is_object) {
    stack_.emplace_back();
    stack_.back().is_object = is_object;
    return true;
  }

  Frame take_frame() {
    Frame frame = std::move(stack_.back());
    stack_.pop_back();
    return frame;
  }

  bool append(bj::string_view part) {
    text_.append(part.data(), part.size());
    return true;
  }

  // Boost.JSON 1.81 rounds some numbers wrongly in the last place ("0.99051"); from_chars is exact.
  bool add_real(bj::string_view part, ErrorCodeBoost& ec) {
    append(part);
    const std::string text = std::exchange(text_, {});
    double value = 0;
    const auto [end, problem] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (problem == std::errc::result_out_of_range && text.find("e-") == std::string::npos &&
        text.find("E-") == std::string::npos) {
      return fail_with(ec, "a number is too large");
    }
    return add(JsonValue(value), ec);  // too small to hold: 0
  }

  bool fail_with(ErrorCodeBoost& ec, std::string problem) {
    problem_ = std::move(problem);
    ec = bj::error::syntax;
    return false;
  }

  bool add(JsonValue value, ErrorCodeBoost& ec) {
    if (++values_ > max_values_) {
      return fail_with(ec, fmt::format("there are more than {} values", max_values_));
    }
    if (stack_.empty()) {
      root_ = std::move(value);
    } else if (stack_.back().is_object) {
      stack_.back().members.push_back({std::move(stack_.back().key), std::move(value)});
    } else {
      stack_.back().elements.push_back(std::move(value));
    }
    return true;
  }

  static std::optional<std::string> duplicate(const JsonValue::Object& members) {
    std::unordered_set<std::string_view> seen;
    for (const JsonValue::Member& member : members) {
      if (!seen.insert(member.name).second) {
        return member.name;
      }
    }
    return std::nullopt;
  }

  const std::size_t max_values_;
  std::size_t values_ = 0;
  std::vector<Frame> stack_;
  std::string text_;
  JsonValue root_;
  std::string problem_;
};

// 1-based line and column of a byte.
std::string place(std::string_view text, std::size_t at) {
  at = std::min(at, text.size());
  const auto line = std::ranges::count(text.substr(0, at), '\n') + 1;
  const std::size_t line_start = text.substr(0, at).rfind('\n');
  const std::size_t column = line_start == std::string_view::npos ? at + 1 : at - line_start;
  return fmt::format("line {} column {}", line, column);
}

std::string describe(const ErrorCodeBoost& ec, const JsonLimits& limits) {
  if (ec == bj::error::too_deep) {
    return fmt::format("values are nested deeper than {} levels", limits.max_depth);
  }
  if (ec == bj::error::incomplete) {
    return "the text ends too early";
  }
  if (ec == bj::error::extra_data) {
    return "there is something after the value";
  }
  return ec.message();
}

}  // namespace

double JsonValue::number() const {
  const std::int64_t* integer = as_integer();
  return integer ? static_cast<double>(*integer) : std::get<double>(value_);
}

const JsonValue* JsonValue::find(std::string_view name) const {
  const Object* object = as_object();
  if (!object) {
    return nullptr;
  }
  const auto found = std::ranges::find(*object, name, &Member::name);
  return found == object->end() ? nullptr : &found->value;
}

std::string_view JsonValue::kind_name() const {
  static constexpr std::string_view kNames[] = {"null",     "a boolean", "a number", "a number",
                                                "a string", "an array",  "an object"};
  return kNames[value_.index()];
}

Result<JsonValue> parse_json(std::string_view text, JsonLimits limits) {
  bj::parse_options options;
  options.max_depth = limits.max_depth;
  bj::basic_parser<Builder> parser(options, limits.max_values);
  ErrorCodeBoost ec;
  const std::size_t used = parser.write_some(false, text.data(), text.size(), ec);
  if (!ec && used < text.size()) {
    ec = bj::error::extra_data;
  }
  if (ec) {
    const std::string& problem = parser.handler().problem();
    // Boost calls it a syntax error. A few bytes more, so that no character is cut where it stopped.
    if (problem.empty() && text::valid_utf8_prefix(text.substr(0, used + 8)) <= used &&
        used < text.size()) {
      return fail(ErrorCode::kInvalidArgument, "this is not valid JSON: it is not UTF-8 ({})",
                  place(text, used));
    }
    return fail(ErrorCode::kInvalidArgument, "this is not valid JSON: {} ({})",
                problem.empty() ? describe(ec, limits) : problem, place(text, used));
  }
  return std::move(parser.handler().root());
}

Result<JsonValue> parse_json_object(std::string_view text, JsonLimits limits) {
  JsonValue value = TRY(parse_json(text, limits));
  if (!value.as_object()) {
    return fail(ErrorCode::kInvalidArgument, "expected a JSON object, not {}", value.kind_name());
  }
  return value;
}

}  // namespace edgewise::api
