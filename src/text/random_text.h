// For tests: text that split patterns and tokenizers find hard. Seeded, so that a failure can be
// repeated.
#pragma once

#include <cstdint>
#include <random>
#include <string>
#include <vector>

#include "text/unicode.h"

namespace edgewise::text {

class RandomText {
 public:
  explicit RandomText(std::uint32_t seed) : random_(seed) {}

  std::string next() {
    std::string out;
    for (std::uint32_t pieces = 1 + below(12); pieces > 0; --pieces) {
      append_piece(out);
    }
    return out;
  }

  std::uint32_t below(std::uint32_t limit) { return static_cast<std::uint32_t>(random_() % limit); }

 private:
  void append_piece(std::string& out) {
    static const std::vector<std::string> kPieces = {"hello",
                                                     "World",
                                                     "don't",
                                                     "I'M",
                                                     "we'LL",
                                                     "'ſ",
                                                     "they'Ve",
                                                     "x'",
                                                     "''s",
                                                     "naïve",
                                                     "мир",
                                                     "漢字",
                                                     "한국",
                                                     "नमस्ते",
                                                     "ไทย",
                                                     "e\xCC\x81",
                                                     "👩‍👩‍👧",
                                                     "¼",
                                                     "٣٤",
                                                     "Ⅷ",
                                                     "1",
                                                     "22",
                                                     "333",
                                                     "4444444",
                                                     " ",
                                                     "  ",
                                                     "\t",
                                                     "\n",
                                                     "\r\n",
                                                     "\n\n",
                                                     " \n ",
                                                     "\xC2\xA0",
                                                     "\xE3\x80\x80",
                                                     "\xC2\x85",
                                                     "\xE2\x80\xA8",
                                                     ".",
                                                     "...",
                                                     "!?",
                                                     "/",
                                                     "//",
                                                     "#include",
                                                     "->",
                                                     "_",
                                                     "$",
                                                     "~",
                                                     "\x01",
                                                     "\x7F",
                                                     "ǅ",
                                                     "ª"};
    const std::uint32_t kind = below(10);
    if (kind < 7) {
      out += kPieces[below(static_cast<std::uint32_t>(kPieces.size()))];
    } else if (kind < 9) {
      out.push_back(static_cast<char>(below(128)));
    } else {
      std::uint32_t code = below(0x110000 - 0x800);
      append_code_point(code >= 0xD800 ? code + 0x800 : code, out);
    }
  }

  std::mt19937 random_;
};

}  // namespace edgewise::text
