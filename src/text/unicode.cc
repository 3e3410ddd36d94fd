#include "text/unicode.h"

#include <utf8proc.h>

#include <array>

namespace edgewise::text {
namespace {

constexpr std::array<CharClass, 128> make_ascii_classes() {
  std::array<CharClass, 128> classes{};
  for (int c = 0; c < 128; ++c) {
    const bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
    const bool space = c == ' ' || (c >= '\t' && c <= '\r');
    classes[static_cast<std::size_t>(c)] = letter                   ? CharClass::kLetter
                                           : (c >= '0' && c <= '9') ? CharClass::kNumber
                                           : space                  ? CharClass::kSpace
                                                                    : CharClass::kOther;
  }
  return classes;
}

constexpr std::array<CharClass, 128> kAsciiClasses = make_ascii_classes();

// A sequence that starts with `lead`: its length and the range of its second byte (Unicode
// standard, table 3-7).
struct SequenceShape {
  std::uint32_t length;  // 0: `lead` can not start a multi-byte sequence
  std::uint8_t second_low;
  std::uint8_t second_high;
};

SequenceShape sequence_shape(std::uint8_t lead) {
  if (lead >= 0xC2 && lead <= 0xDF) {
    return {2, 0x80, 0xBF};
  }
  if (lead >= 0xE0 && lead <= 0xEF) {
    return {3, static_cast<std::uint8_t>(lead == 0xE0 ? 0xA0 : 0x80),
            static_cast<std::uint8_t>(lead == 0xED ? 0x9F : 0xBF)};
  }
  if (lead >= 0xF0 && lead <= 0xF4) {
    return {4, static_cast<std::uint8_t>(lead == 0xF0 ? 0x90 : 0x80),
            static_cast<std::uint8_t>(lead == 0xF4 ? 0x8F : 0xBF)};
  }
  return {0, 0, 0};
}

std::uint8_t byte_at(std::string_view text, std::size_t position) {
  return static_cast<std::uint8_t>(text[position]);
}

// Bytes of the well-formed beginning of the sequence at `position` (at least 1), and whether it is
// complete.
struct Prefix {
  std::size_t length;
  bool complete;
};

Prefix well_formed_prefix(std::string_view text, std::size_t position) {
  const std::uint8_t lead = byte_at(text, position);
  if (lead < 0x80) {
    return {1, true};
  }
  const SequenceShape shape = sequence_shape(lead);
  if (shape.length == 0) {
    return {1, false};
  }
  std::size_t length = 1;
  while (length < shape.length && position + length < text.size()) {
    const std::uint8_t next = byte_at(text, position + length);
    const std::uint8_t low = length == 1 ? shape.second_low : 0x80;
    const std::uint8_t high = length == 1 ? shape.second_high : 0xBF;
    if (next < low || next > high) {
      break;
    }
    ++length;
  }
  return {length, length == shape.length};
}

}  // namespace

CodePoint decode_code_point(std::string_view text, std::size_t position) {
  const std::uint8_t lead = byte_at(text, position);
  if (lead < 0x80) {
    return {lead, 1};
  }
  const Prefix prefix = well_formed_prefix(text, position);
  if (!prefix.complete) {
    return {kInvalidCode, 1};
  }
  std::uint32_t code = lead & (0x7Fu >> prefix.length);
  for (std::size_t i = 1; i < prefix.length; ++i) {
    code = (code << 6) | (byte_at(text, position + i) & 0x3Fu);
  }
  return {code, static_cast<std::uint32_t>(prefix.length)};
}

void append_code_point(std::uint32_t code, std::string& out) {
  const auto put = [&out](std::uint32_t byte) { out.push_back(static_cast<char>(byte)); };
  if (code < 0x80) {
    put(code);
  } else if (code < 0x800) {
    put(0xC0 | (code >> 6));
    put(0x80 | (code & 0x3F));
  } else if (code < 0x10000) {
    put(0xE0 | (code >> 12));
    put(0x80 | ((code >> 6) & 0x3F));
    put(0x80 | (code & 0x3F));
  } else {
    put(0xF0 | (code >> 18));
    put(0x80 | ((code >> 12) & 0x3F));
    put(0x80 | ((code >> 6) & 0x3F));
    put(0x80 | (code & 0x3F));
  }
}

std::size_t valid_utf8_prefix(std::string_view text) {
  std::size_t end = 0;
  while (end < text.size()) {
    const Prefix prefix = well_formed_prefix(text, end);
    if (!prefix.complete) {
      break;
    }
    end += prefix.length;
  }
  return end;
}

bool is_valid_utf8(std::string_view text) {
  return valid_utf8_prefix(text) == text.size();
}

std::string replace_invalid_bytes(std::string_view text) {
  std::string out;
  out.reserve(text.size() + 16);
  for (std::size_t i = 0; i < text.size();) {
    const CodePoint c = decode_code_point(text, i);
    if (c.code == kInvalidCode) {
      out += kReplacementCharacter;
    } else {
      out.append(text, i, c.length);
    }
    i += c.length;
  }
  return out;
}

std::size_t open_character_bytes(std::string_view text) {
  // The lead byte of an open character is at most three bytes from the end.
  const std::size_t farthest = text.size() < 3 ? text.size() : 3;
  for (std::size_t back = 1; back <= farthest; ++back) {
    const std::size_t position = text.size() - back;
    const std::uint8_t byte = byte_at(text, position);
    if (byte < 0x80) {
      return 0;
    }
    if (byte >= 0xC0) {
      const Prefix prefix = well_formed_prefix(text, position);
      return !prefix.complete && prefix.length == back && sequence_shape(byte).length != 0 ? back
                                                                                           : 0;
    }
  }
  return 0;
}

void append_as_valid_utf8(std::string_view bytes, std::string& out) {
  for (std::size_t i = 0; i < bytes.size();) {
    const Prefix prefix = well_formed_prefix(bytes, i);
    if (prefix.complete) {
      out.append(bytes, i, prefix.length);
    } else {
      out += kReplacementCharacter;
    }
    i += prefix.length;
  }
}

bool is_white_space(std::uint32_t code) {
  if (code < 0x80) {
    return kAsciiClasses[code] == CharClass::kSpace;
  }
  return code == 0x85 || code == 0xA0 || code == 0x1680 || (code >= 0x2000 && code <= 0x200A) ||
         code == 0x2028 || code == 0x2029 || code == 0x202F || code == 0x205F || code == 0x3000;
}

CharClass char_class(std::uint32_t code) {
  if (code < 0x80) {
    return kAsciiClasses[code];
  }
  if (code > 0x10FFFF) {
    return CharClass::kOther;
  }
  switch (utf8proc_category(static_cast<utf8proc_int32_t>(code))) {
    case UTF8PROC_CATEGORY_LU:
    case UTF8PROC_CATEGORY_LL:
    case UTF8PROC_CATEGORY_LT:
    case UTF8PROC_CATEGORY_LM:
    case UTF8PROC_CATEGORY_LO:
      return CharClass::kLetter;
    case UTF8PROC_CATEGORY_MN:
    case UTF8PROC_CATEGORY_MC:
    case UTF8PROC_CATEGORY_ME:
      return CharClass::kMark;
    case UTF8PROC_CATEGORY_ND:
    case UTF8PROC_CATEGORY_NL:
    case UTF8PROC_CATEGORY_NO:
      return CharClass::kNumber;
    default:
      return is_white_space(code) ? CharClass::kSpace : CharClass::kOther;
  }
}

}  // namespace edgewise::text
