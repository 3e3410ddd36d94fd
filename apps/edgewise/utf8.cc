#include "utf8.h"

#include <fmt/format.h>

#include "text/unicode.h"

namespace edgewise::app {

std::string to_printable(std::string_view bytes) {
  std::string out;
  for (std::size_t at = 0; at < bytes.size();) {
    const text::CodePoint character = text::decode_code_point(bytes, at);
    if (character.code == text::kInvalidCode) {
      out += text::kReplacementCharacter;
    } else if (character.code == '\n') {
      out += "\\n";
    } else if (character.code == '\t') {
      out += "\\t";
    } else if (character.code < 0x20 || (character.code >= 0x7F && character.code < 0xA0)) {
      out += fmt::format("\\x{:02x}", character.code);
    } else {
      out += bytes.substr(at, character.length);
    }
    at += character.length;
  }
  return out;
}

std::string to_printable_lines(std::string_view bytes) {
  std::string out;
  for (std::size_t end = bytes.find('\n'); end != std::string_view::npos; end = bytes.find('\n')) {
    out += to_printable(bytes.substr(0, end)) + "\n";
    bytes.remove_prefix(end + 1);
  }
  return out + to_printable(bytes);
}

}  // namespace edgewise::app
