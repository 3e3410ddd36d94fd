// UTF-8 and the character classes that tokenizers split by. Unicode version: utf8proc's.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace edgewise::text {

// One decoded character. An invalid byte is one character of length 1 with code kInvalidCode.
struct CodePoint {
  std::uint32_t code;
  std::uint32_t length;  // bytes
};

inline constexpr std::uint32_t kInvalidCode = 0xFFFFFFFF;
inline constexpr std::string_view kReplacementCharacter = "\xEF\xBF\xBD";  // U+FFFD

// The character at text[position]; position < text.size(). Overlong forms, surrogates, values above
// U+10FFFF and truncated sequences are invalid: each of their bytes stands alone.
CodePoint decode_code_point(std::string_view text, std::size_t position);

void append_code_point(std::uint32_t code, std::string& out);

// Bytes at the beginning of `text` that are well-formed (RFC 3629).
std::size_t valid_utf8_prefix(std::string_view text);
bool is_valid_utf8(std::string_view text);

// Every invalid byte becomes one U+FFFD.
std::string replace_invalid_bytes(std::string_view text);

// How many bytes at the end of `text` are the beginning of a character that further bytes could
// complete: 0 to 3.
std::size_t open_character_bytes(std::string_view text);

// Appends `bytes` to `out` with each maximal malformed piece replaced by one U+FFFD (Unicode
// standard 3.9, "substitution of maximal subparts", which is also what WHATWG and Python's
// "replace" do).
void append_as_valid_utf8(std::string_view bytes, std::string& out);

// General categories, grouped as the patterns name them: \p{L} \p{M} \p{N} and \s (White_Space).
enum class CharClass : std::uint8_t { kLetter, kMark, kNumber, kSpace, kOther };
CharClass char_class(std::uint32_t code);

bool is_white_space(std::uint32_t code);  // the White_Space property

}  // namespace edgewise::text
