#include "chat/json_scanner.h"

#include <fmt/format.h>

#include "text/unicode.h"

namespace edgewise::chat {
namespace {

// Deeper than any arguments that make sense; a model that repeats '[' for ever is stopped here.
constexpr std::size_t kMaxDepth = 128;

bool is_space(char c) {
  return c == ' ' || c == '\n' || c == '\r' || c == '\t';
}

bool is_digit(char c) {
  return c >= '0' && c <= '9';
}

int hex_value(char c) {
  if (is_digit(c)) {
    return c - '0';
  }
  const char lower = static_cast<char>(c | 0x20);
  return lower >= 'a' && lower <= 'f' ? lower - 'a' + 10 : -1;
}

std::optional<std::uint32_t> read_hex4(std::string_view text) {
  if (text.size() < 4) {
    return std::nullopt;
  }
  std::uint32_t value = 0;
  for (const char c : text.substr(0, 4)) {
    const int digit = hex_value(c);
    if (digit < 0) {
      return std::nullopt;
    }
    value = value * 16 + static_cast<std::uint32_t>(digit);
  }
  return value;
}

// After "\u": consumes the digits, and those of a low surrogate after a high one. A lone surrogate
// is U+FFFD.
bool read_unicode_escape(std::string_view& text, std::string& out) {
  const auto first = read_hex4(text);
  if (!first) {
    return false;
  }
  text.remove_prefix(4);
  std::uint32_t code = *first;
  if (code >= 0xD800 && code < 0xDC00 && text.starts_with("\\u")) {
    const auto second = read_hex4(text.substr(2));
    if (second && *second >= 0xDC00 && *second < 0xE000) {
      text.remove_prefix(6);
      code = 0x10000 + ((code - 0xD800) << 10) + (*second - 0xDC00);
    }
  }
  text::append_code_point(code >= 0xD800 && code < 0xE000 ? 0xFFFD : code, out);
  return true;
}

}  // namespace

JsonScanner::Status JsonScanner::push(char c) {
  event_ = Event::kNone;
  if (complete_ || !step(c)) {
    return Status::kInvalid;
  }
  return complete_ ? Status::kComplete : Status::kOpen;
}

bool JsonScanner::step(char c) {
  if (state_ == State::kString || state_ == State::kEscape || state_ == State::kUnicode) {
    return step_string(c);
  }
  if (state_ == State::kLiteral) {
    const bool right = c == literal_left_.front();
    literal_left_.remove_prefix(1);
    if (literal_left_.empty()) {
      state_ = State::kCommaOrEnd;
    }
    return right;
  }
  if (state_ >= State::kMinus) {
    bool consumed = true;
    if (!step_number(c, consumed)) {
      return false;
    }
    if (consumed) {
      return true;
    }
    state_ = State::kCommaOrEnd;  // the number ended before this byte
  }
  return is_space(c) ? state_ != State::kStart : step_structure(c);
}

bool JsonScanner::step_structure(char c) {
  switch (state_) {
    case State::kStart:
      return (c == '{' || c == '[') && begin_value(c);
    case State::kFirstValueOrEnd:
      return c == ']' ? close(c) : begin_value(c);
    case State::kValue:
      return begin_value(c);
    case State::kFirstKeyOrEnd:
      if (c == '}') {
        return close(c);
      }
      [[fallthrough]];
    case State::kKey:
      string_is_key_ = true;
      state_ = State::kString;
      return c == '"';
    case State::kColon:
      state_ = State::kValue;
      return c == ':';
    case State::kCommaOrEnd:
      if (c == ',') {
        state_ = stack_.back() == '{' ? State::kKey : State::kValue;
        return true;
      }
      return close(c);
    default:
      return false;
  }
}

bool JsonScanner::step_string(char c) {
  if (state_ == State::kUnicode) {
    if (--hex_digits_left_ == 0) {
      state_ = State::kString;
    }
    return hex_value(c) >= 0;
  }
  if (state_ == State::kEscape) {
    if (c == 'u') {
      state_ = State::kUnicode;
      hex_digits_left_ = 4;
      return true;
    }
    state_ = State::kString;
    return std::string_view("\"\\/bfnrt").find(c) != std::string_view::npos;
  }
  if (c == '\\') {
    state_ = State::kEscape;
  } else if (c == '"') {
    event_ = string_is_key_ ? Event::kKeyEnd : Event::kStringEnd;
    state_ = string_is_key_ ? State::kColon : State::kCommaOrEnd;
    string_is_key_ = false;
  }
  return static_cast<unsigned char>(c) >= 0x20;
}

// `consumed` false: the number is complete and `c` comes after it.
bool JsonScanner::step_number(char c, bool& consumed) {
  const bool exponent = c == 'e' || c == 'E';
  switch (state_) {
    case State::kMinus:
      state_ = c == '0' ? State::kZero : State::kDigits;
      return is_digit(c);
    case State::kPoint:
      state_ = State::kFraction;
      return is_digit(c);
    case State::kExponent:
      state_ = is_digit(c) ? State::kExponentDigits : State::kExponentSign;
      return is_digit(c) || c == '+' || c == '-';
    case State::kExponentSign:
      state_ = State::kExponentDigits;
      return is_digit(c);
    case State::kZero:
    case State::kDigits:
      if (state_ == State::kDigits && is_digit(c)) {
        return true;
      }
      if (c == '.') {
        state_ = State::kPoint;
        return true;
      }
      break;
    case State::kFraction:
    case State::kExponentDigits:
      if (is_digit(c)) {
        return true;
      }
      break;
    default:
      return false;
  }
  if (exponent && state_ != State::kExponentDigits) {
    state_ = State::kExponent;
    return true;
  }
  consumed = false;
  return true;
}

bool JsonScanner::begin_value(char c) {
  event_ = Event::kValueBegin;
  switch (c) {
    case '{':
    case '[':
      stack_.push_back(c);
      state_ = c == '{' ? State::kFirstKeyOrEnd : State::kFirstValueOrEnd;
      return stack_.size() <= kMaxDepth;
    case '"':
      state_ = State::kString;
      return true;
    case 't':
      literal_left_ = "rue";
      break;
    case 'f':
      literal_left_ = "alse";
      break;
    case 'n':
      literal_left_ = "ull";
      break;
    case '-':
      state_ = State::kMinus;
      return true;
    default:
      state_ = c == '0' ? State::kZero : State::kDigits;
      return is_digit(c);
  }
  state_ = State::kLiteral;
  return true;
}

bool JsonScanner::close(char c) {
  if (stack_.empty() || c != (stack_.back() == '{' ? '}' : ']')) {
    return false;
  }
  stack_.pop_back();
  event_ = Event::kContainerEnd;
  state_ = State::kCommaOrEnd;
  complete_ = stack_.empty();
  return true;
}

std::optional<std::string> unquote_json(std::string_view literal) {
  if (literal.size() < 2 || literal.front() != '"' || literal.back() != '"') {
    return std::nullopt;
  }
  std::string_view text = literal.substr(1, literal.size() - 2);
  std::string out;
  while (!text.empty()) {
    const char c = text.front();
    text.remove_prefix(1);
    if (c != '\\') {
      if (c == '"' || static_cast<unsigned char>(c) < 0x20) {
        return std::nullopt;
      }
      out.push_back(c);
      continue;
    }
    if (text.empty()) {
      return std::nullopt;
    }
    const char escape = text.front();
    text.remove_prefix(1);
    static constexpr std::string_view kEscapes = "\"\\/bfnrt";
    static constexpr std::string_view kMeanings = "\"\\/\b\f\n\r\t";
    if (const std::size_t at = kEscapes.find(escape); at != std::string_view::npos) {
      out.push_back(kMeanings[at]);
    } else if (escape != 'u' || !read_unicode_escape(text, out)) {
      return std::nullopt;
    }
  }
  return out;
}

std::string quote_json(std::string_view text) {
  std::string out = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') {
      out.push_back('\\');
      out.push_back(c);
    } else if (c == '\n') {
      out += "\\n";
    } else if (static_cast<unsigned char>(c) < 0x20) {
      out += fmt::format("\\u{:04x}", static_cast<int>(c));
    } else {
      out.push_back(c);
    }
  }
  out.push_back('"');
  return out;
}

}  // namespace edgewise::chat
