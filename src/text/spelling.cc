#include "text/spelling.h"

#include <array>
#include <cstdint>

#include "text/unicode.h"

namespace edgewise::text {
namespace {

constexpr std::uint32_t kAlphabetEnd = 256 + 68;  // code points of GPT-2's alphabet are below

// Code point -> byte, or -1 outside the alphabet. Printable Latin-1 stands for itself; the other 68
// bytes take U+0100 and up in order. Source: Radford et al. 2019 (GPT-2), encoder.py,
// bytes_to_unicode.
constexpr std::array<std::int16_t, kAlphabetEnd> make_alphabet() {
  std::array<std::int16_t, kAlphabetEnd> bytes{};
  for (auto& byte : bytes) {
    byte = -1;
  }
  std::size_t next = 256;
  for (std::size_t byte = 0; byte < 256; ++byte) {
    const bool printable =
        (byte >= 0x21 && byte <= 0x7E) || (byte >= 0xA1 && byte <= 0xAC) || byte >= 0xAE;
    bytes[printable ? byte : next++] = static_cast<std::int16_t>(byte);
  }
  return bytes;
}

constexpr std::array<std::int16_t, kAlphabetEnd> kAlphabet = make_alphabet();

bool append_byte_characters(std::string_view text, std::string& out) {
  const std::size_t before = out.size();
  for (std::size_t i = 0; i < text.size();) {
    const CodePoint c = decode_code_point(text, i);
    if (c.code >= kAlphabetEnd || kAlphabet[c.code] < 0) {
      out.resize(before);
      return false;
    }
    out.push_back(static_cast<char>(kAlphabet[c.code]));
    i += c.length;
  }
  return true;
}

}  // namespace

void append_without_space_marks(std::string_view text, std::string& out) {
  for (std::size_t mark = text.find(kSpaceMark); mark != std::string_view::npos;
       mark = text.find(kSpaceMark)) {
    out.append(text.substr(0, mark));
    out.push_back(' ');
    text.remove_prefix(mark + kSpaceMark.size());
  }
  out.append(text);
}

bool append_spelled(Spelling spelling, std::string_view text, std::string& out) {
  if (spelling == Spelling::kByteCharacters) {
    return append_byte_characters(text, out);
  }
  if (text.find(' ') != std::string_view::npos) {
    return false;  // encoding has turned each space into a mark before it looks tokens up
  }
  append_without_space_marks(text, out);
  return true;
}

}  // namespace edgewise::text
