// Byte-pair encoding by merge rank: within each word of the pre-tokenizer, the neighbouring pair
// with the lowest rank is merged until no pair has one. Source: Sennrich et al. 2016, arXiv
// 1508.07909; ranks as GPT-2 uses them. Immutable; any thread. A word of n bytes takes O(n log n).
#pragma once

#include <memory>
#include <string_view>
#include <vector>

#include "base/ids.h"
#include "base/result.h"
#include "tensor/model_file.h"
#include "text/pre_tokenizer.h"
#include "text/vocabulary.h"

namespace edgewise::text {

class BpeEncoder {
 public:
  // Keeps a pointer to `vocabulary`, which must outlive this object and not move.
  static Result<BpeEncoder> create(const tensor::Metadata& metadata,
                                   const Vocabulary& vocabulary,
                                   PreTokenizer pre_tokenizer);

  // `text` must be valid UTF-8. Appends its tokens; a byte that no token stands for is left out.
  void encode(std::string_view text, std::vector<TokenId>& out) const;

 private:
  struct Merge {
    std::uint64_t pair = ~std::uint64_t{0};  // left << 32 | right; all ones: empty
    std::uint32_t rank = 0;
    TokenId merged = -1;
  };

  // One pair that could be merged, in a heap by rank and then by place.
  struct Candidate {
    std::uint32_t rank;
    std::uint32_t left;  // indices of symbols
    std::uint32_t right;
    TokenId left_token;
    TokenId right_token;
    TokenId merged;
  };

  struct Symbol {
    TokenId token;
    std::int32_t previous;
    std::int32_t next;
    std::uint32_t offset;  // of its first byte in the word
  };

  struct Scratch {
    std::vector<Symbol> symbols;
    std::vector<Candidate> heap;
  };

  BpeEncoder(const Vocabulary& vocabulary, PreTokenizer pre_tokenizer)
      : vocabulary_(&vocabulary), pre_tokenizer_(std::move(pre_tokenizer)) {}

  Result<void> read_merges(const tensor::TextList& merges);
  std::size_t slot_of(
      std::uint64_t pair) const;  // where the pair is, or the empty slot where it belongs
  const Merge* find_merge(TokenId left, TokenId right) const;

  void encode_word(std::string_view word, Scratch& scratch, std::vector<TokenId>& out) const;
  void split_symbols(std::string_view word, std::vector<Symbol>& symbols) const;
  void merge_short(std::vector<Symbol>& symbols) const;
  void merge_long(Scratch& scratch) const;
  void append_tokens(std::string_view word,
                     const std::vector<Symbol>& symbols,
                     std::vector<TokenId>& out) const;

  const Vocabulary* vocabulary_;
  PreTokenizer pre_tokenizer_;
  std::vector<Merge> merges_;  // open addressing, a power of two
  std::uint64_t seed_ = 0;     // so that a hostile file can not make the pairs collide
};

}  // namespace edgewise::text
