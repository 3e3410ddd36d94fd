#include "api/json_writer.h"

#include <fmt/format.h>

#include <cmath>

#include "text/unicode.h"

namespace edgewise::api {
namespace {

void append_ascii(char c, std::string& out) {
  switch (c) {
    case '"':
      out += "\\\"";
      break;
    case '\\':
      out += "\\\\";
      break;
    case '\n':
      out += "\\n";
      break;
    case '\r':
      out += "\\r";
      break;
    case '\t':
      out += "\\t";
      break;
    default:
      if (static_cast<unsigned char>(c) < 0x20) {
        fmt::format_to(std::back_inserter(out), "\\u{:04x}", static_cast<unsigned>(c));
      } else {
        out += c;
      }
  }
}

void append_quoted(std::string_view text, std::string& out) {
  out += '"';
  for (std::size_t at = 0; at < text.size();) {
    const text::CodePoint character = text::decode_code_point(text, at);
    if (character.code == text::kInvalidCode) {
      out += text::kReplacementCharacter;
    } else if (character.length == 1) {
      append_ascii(text[at], out);
    } else {
      out += text.substr(at, character.length);
    }
    at += character.length;
  }
  out += '"';
}

template <typename Real>
std::string real_text(Real value) {
  if (!std::isfinite(value)) {
    return "null";
  }
  // "-0" would be read as the integer 0.
  return value == 0 && std::signbit(value) ? "-0.0" : fmt::format("{}", value);
}

}  // namespace

void JsonWriter::separate() {
  if (needs_comma_) {
    text_ += ',';
  }
  needs_comma_ = true;
}

JsonWriter& JsonWriter::open(char bracket) {
  separate();
  text_ += bracket;
  needs_comma_ = false;
  return *this;
}

JsonWriter& JsonWriter::close(char bracket) {
  text_ += bracket;
  needs_comma_ = true;
  return *this;
}

JsonWriter& JsonWriter::key(std::string_view name) {
  separate();
  append_quoted(name, text_);
  text_ += ':';
  needs_comma_ = false;
  return *this;
}

JsonWriter& JsonWriter::string(std::string_view value) {
  separate();
  append_quoted(value, text_);
  return *this;
}

JsonWriter& JsonWriter::raw(std::string_view json) {
  separate();
  text_ += json;
  return *this;
}

JsonWriter& JsonWriter::integer(std::int64_t value) {
  return raw(fmt::format_int(value).c_str());
}

JsonWriter& JsonWriter::number(double value) {
  return raw(real_text(value));
}

JsonWriter& JsonWriter::number(float value) {
  return raw(real_text(value));
}

JsonWriter& JsonWriter::boolean(bool value) {
  return raw(value ? "true" : "false");
}

JsonWriter& JsonWriter::null() {
  return raw("null");
}

// Recursion is bounded by the depth limit of the parser that made the value.
JsonWriter& JsonWriter::value(const JsonValue& value) {
  if (const auto* object = value.as_object()) {
    begin_object();
    for (const JsonValue::Member& member : *object) {
      key(member.name).value(member.value);
    }
    return end_object();
  }
  if (const auto* array = value.as_array()) {
    begin_array();
    for (const JsonValue& element : *array) {
      this->value(element);
    }
    return end_array();
  }
  if (const auto* text = value.as_string()) {
    return string(*text);
  }
  if (const auto* integer_value = value.as_integer()) {
    return integer(*integer_value);
  }
  if (const auto* truth = value.as_bool()) {
    return boolean(*truth);
  }
  return value.is_null() ? null() : number(value.number());
}

std::string to_json(const JsonValue& value) {
  JsonWriter writer;
  writer.value(value);
  return writer.take();
}

}  // namespace edgewise::api
