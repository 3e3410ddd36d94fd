// BERT's tokenizer: clean the text, cut it at white space and punctuation, then take the longest
// token that begins each word, and so on to its end. Source: Devlin et al. 2018, arXiv 1810.04805,
// tokenization.py; details where GGUF is silent are those of Hugging Face's BertNormalizer.
// Immutable; any thread.
//
// The vocabulary is spelled as GGUF spells it: U+2581 before what begins a word, nothing before
// what continues one.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/ids.h"
#include "text/vocabulary.h"

namespace edgewise::text {

class WordPieceEncoder {
 public:
  struct Normalization {
    bool lowercase = true;
    bool strip_accents = true;
  };

  // Keeps a pointer to `vocabulary`, which must outlive this object and not move.
  WordPieceEncoder(const Vocabulary& vocabulary, Normalization normalization);

  // `text` must be valid UTF-8. Appends the tokens; a word that the tokens can not spell is one
  // unknown token.
  void encode(std::string_view text, std::vector<TokenId>& out) const;

 private:
  void encode_word(const std::string& word,
                   std::size_t characters,
                   std::vector<TokenId>& out) const;

  const Vocabulary* vocabulary_;
  Normalization normalization_;
  std::size_t longest_token_ = 0;  // bytes
};

}  // namespace edgewise::text
