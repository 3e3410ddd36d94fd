#include "text/wordpiece_encoder.h"

#include <utf8proc.h>

#include <algorithm>
#include <array>

#include "text/unicode.h"

namespace edgewise::text {
namespace {

constexpr std::size_t kLongestWord =
    100;  // characters; a longer word is unknown (BERT's max_input_chars_per_word)

bool is_between(std::uint32_t code, std::uint32_t low, std::uint32_t high) {
  return low <= code && code <= high;
}

// Each of these is a word of its own. The ranges are BERT's; 2B920 (for 2B820) is a slip of Hugging
// Face's library that the models' tokenizers have been run with.
bool is_cjk(std::uint32_t code) {
  return is_between(code, 0x4E00, 0x9FFF) || is_between(code, 0x3400, 0x4DBF) ||
         is_between(code, 0x20000, 0x2A6DF) || is_between(code, 0x2A700, 0x2B73F) ||
         is_between(code, 0x2B740, 0x2B81F) || is_between(code, 0x2B920, 0x2CEAF) ||
         is_between(code, 0xF900, 0xFAFF) || is_between(code, 0x2F800, 0x2FA1F);
}

utf8proc_category_t category(std::uint32_t code) {
  return utf8proc_category(static_cast<utf8proc_int32_t>(code));
}

bool is_punctuation(std::uint32_t code) {
  if (code < 0x80) {
    return is_between(code, '!', '/') || is_between(code, ':', '@') || is_between(code, '[', '`') ||
           is_between(code, '{', '~');
  }
  const utf8proc_category_t c = category(code);
  return c >= UTF8PROC_CATEGORY_PC && c <= UTF8PROC_CATEGORY_PO;
}

// Control (form feed too), format, unassigned, private use: no part of any word, and no end of one.
bool is_dropped(std::uint32_t code) {
  if (code == 0 || code == 0xFFFD) {
    return true;
  }
  if (code == '\t' || code == '\n' || code == '\r') {
    return false;
  }
  const utf8proc_category_t c = category(code);
  return c == UTF8PROC_CATEGORY_CN || (c >= UTF8PROC_CATEGORY_CC && c <= UTF8PROC_CATEGORY_CO);
}

// Canonical decomposition with combining marks in canonical order, then without the non-spacing
// ones.
std::u32string without_accents(std::u32string_view codes) {
  std::u32string out;
  std::array<utf8proc_int32_t, 32> parts{};  // the longest decomposition has 4
  for (const char32_t code : codes) {
    int boundary = 0;
    const utf8proc_ssize_t count =
        utf8proc_decompose_char(static_cast<utf8proc_int32_t>(code), parts.data(), parts.size(),
                                UTF8PROC_DECOMPOSE, &boundary);
    for (utf8proc_ssize_t i = 0; i < count && i < static_cast<utf8proc_ssize_t>(parts.size());
         ++i) {
      const auto part = static_cast<std::uint32_t>(parts[static_cast<std::size_t>(i)]);
      if (category(part) != UTF8PROC_CATEGORY_MN) {
        out.push_back(part);
      }
    }
  }
  return out;
}

void append_lowercase(std::uint32_t code, std::u32string& out) {
  if (code == 0x130) {  // the only character whose lower case is two (Unicode SpecialCasing.txt)
    out += {U'i', char32_t{0x307}};
  } else {
    out.push_back(static_cast<char32_t>(utf8proc_tolower(static_cast<utf8proc_int32_t>(code))));
  }
}

}  // namespace

WordPieceEncoder::WordPieceEncoder(const Vocabulary& vocabulary, Normalization normalization)
    : vocabulary_(&vocabulary), normalization_(normalization) {
  for (TokenId id = 0; id < vocabulary.size(); ++id) {
    longest_token_ = std::max(longest_token_, vocabulary.bytes(id).size());
  }
}

void WordPieceEncoder::encode(std::string_view text, std::vector<TokenId>& out) const {
  std::u32string codes;
  for (std::size_t i = 0; i < text.size();) {
    const CodePoint c = decode_code_point(text, i);
    i += c.length;
    if (is_dropped(c.code)) {
      continue;
    }
    if (is_white_space(c.code)) {
      codes.push_back(U' ');
    } else if (is_cjk(c.code)) {
      codes += {U' ', static_cast<char32_t>(c.code), U' '};
    } else {
      codes.push_back(static_cast<char32_t>(c.code));
    }
  }
  if (normalization_.strip_accents) {
    codes = without_accents(codes);
  }
  if (normalization_.lowercase) {
    std::u32string lower;
    for (const char32_t code : codes) {
      append_lowercase(code, lower);
    }
    codes.swap(lower);
  }
  std::string word = " ";
  std::size_t characters = 0;
  const auto finish_word = [&] {
    if (characters > 0) {
      encode_word(word, characters, out);
    }
    word = " ";
    characters = 0;
  };
  for (const char32_t code : codes) {
    const bool alone = is_punctuation(code);
    if (alone || is_white_space(code)) {
      finish_word();
    }
    if (!is_white_space(code)) {
      append_code_point(code, word);
      ++characters;
    }
    if (alone) {
      finish_word();
    }
  }
  finish_word();
}

// `word` begins with the space that marks the beginning of a word.
void WordPieceEncoder::encode_word(const std::string& word,
                                   std::size_t characters,
                                   std::vector<TokenId>& out) const {
  const std::size_t before = out.size();
  const auto give_up = [&] {
    out.resize(before);
    if (vocabulary_->special().unknown >= 0) {
      out.push_back(vocabulary_->special().unknown);
    }
  };
  if (characters > kLongestWord) {
    return give_up();
  }
  for (std::size_t begin = 0; begin < word.size();) {
    std::size_t end = std::min(word.size(), begin + longest_token_);
    TokenId token = -1;
    for (; end > begin; --end) {
      token = vocabulary_->find(std::string_view(word).substr(begin, end - begin));
      // The space alone would spell the beginning of any word and leave the rest to continuations.
      if (token >= 0 && !(begin == 0 && end == 1)) {
        break;
      }
    }
    if (end == begin) {
      return give_up();
    }
    out.push_back(token);
    begin = end;
  }
}

}  // namespace edgewise::text
