#include "utf8.h"

#include <fmt/format.h>
#include <utf8proc.h>

namespace edgewise::app {
namespace {

template <typename OnCharacter, typename OnInvalid>
void for_each_character(std::string_view bytes, OnCharacter on_character, OnInvalid on_invalid) {
  std::size_t at = 0;
  while (at < bytes.size()) {
    utf8proc_int32_t code = -1;
    const auto* start = reinterpret_cast<const utf8proc_uint8_t*>(bytes.data() + at);
    const utf8proc_ssize_t length =
        utf8proc_iterate(start, static_cast<utf8proc_ssize_t>(bytes.size() - at), &code);
    if (length <= 0) {
      on_invalid();
      ++at;
      continue;
    }
    on_character(code, bytes.substr(at, static_cast<std::size_t>(length)));
    at += static_cast<std::size_t>(length);
  }
}

constexpr std::string_view kReplacement = "\xEF\xBF\xBD";

}  // namespace

std::string to_valid_utf8(std::string_view bytes) {
  std::string out;
  out.reserve(bytes.size());
  for_each_character(
      bytes, [&](utf8proc_int32_t, std::string_view text) { out += text; },
      [&] { out += kReplacement; });
  return out;
}

std::string to_printable(std::string_view bytes) {
  std::string out;
  const auto on_character = [&](utf8proc_int32_t code, std::string_view text) {
    if (code == '\n') {
      out += "\\n";
    } else if (code == '\t') {
      out += "\\t";
    } else if (code < 0x20 || (code >= 0x7F && code < 0xA0)) {
      out += fmt::format("\\x{:02x}", code);
    } else {
      out += text;
    }
  };
  for_each_character(bytes, on_character, [&] { out += kReplacement; });
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
