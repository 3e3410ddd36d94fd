// Hand-written equivalents of the split patterns that most models use, one pass, no backtracking.
// They must equal PCRE2 on the same pattern: pre_tokenizer_test.cc checks that on random text.
#pragma once

#include <cstddef>
#include <string_view>
#include <vector>

namespace edgewise::text {

enum class WordScanner {
  kNone,
  kGpt2,           // 's|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+
  kSmolLm,         // each \p{N} isolated, then kGpt2
  kLlama3,         // (?i:'s|..)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}|
                   // ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+
  kQwen2,          // kLlama3 with \p{N}
  kQwen35,         // kQwen2 with [\p{L}\p{M}] for \p{L}
  kDigitTriples,   // runs of \p{N} in threes counted from the right
  kNewlines,       // [^\n]+|\n+
  kTrailingSpace,  // \s+ at the very end
};

// Appends the ends of the words of text[begin, end) to `ends`. The piece is scanned as if it were
// the whole text.
void scan_words(WordScanner scanner,
                std::string_view text,
                std::size_t begin,
                std::size_t end,
                std::vector<std::size_t>& ends);

}  // namespace edgewise::text
