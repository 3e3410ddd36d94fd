// Cuts text into the words that byte-level BPE merges within, by the pattern that
// tokenizer.ggml.pre names. Immutable; any thread.
//
// A pre-tokenizer is a sequence of stages; each cuts every piece of the stage before it. A pattern
// stage makes each match and each text between matches a piece of its own (Hugging Face's
// "isolated" split). The patterns of the common families have hand-written scanners
// (word_scanner.h), tested against PCRE2; the others run in PCRE2's JIT.
#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace edgewise::text {

class PreTokenizer {
 public:
  // What else the name implies, unless the metadata says otherwise.
  struct Traits {
    bool whole_words_first =
        false;  // a word that is itself a token is not merged ("ignore_merges")
    bool adds_bos = false;
    bool space_marks = false;  // tokens are spelled with U+2581 instead of byte characters
  };

  // `use_scanners` = false runs every stage in PCRE2: the reference in tests.
  static Result<PreTokenizer> create(std::string_view name, bool use_scanners = true);
  static std::vector<std::string_view> known_names();

  PreTokenizer(PreTokenizer&&) noexcept;
  PreTokenizer& operator=(PreTokenizer&&) noexcept;
  ~PreTokenizer();

  const Traits& traits() const { return traits_; }

  // The ends of the words of `text`, ascending; the last is text.size(). `text` must be valid
  // UTF-8.
  std::vector<std::size_t> split(std::string_view text) const;

  struct Stage;

 private:
  PreTokenizer();
  Traits traits_;
  std::vector<std::unique_ptr<const Stage>> stages_;
};

}  // namespace edgewise::text
