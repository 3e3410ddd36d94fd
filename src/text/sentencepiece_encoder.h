// SentencePiece's BPE: the neighbouring pair whose union is the token with the highest score is
// merged until no union is a token; characters that are no token become byte tokens. Source: Kudo &
// Richardson 2018, arXiv 1808.06226. Immutable; any thread. n bytes take O(n log n).
#pragma once

#include <bitset>
#include <cstdint>
#include <string_view>
#include <vector>

#include "base/ids.h"
#include "text/vocabulary.h"

namespace edgewise::text {

class SentencePieceEncoder {
 public:
  // Keeps a pointer to `vocabulary`, which must outlive this object and not move.
  explicit SentencePieceEncoder(const Vocabulary& vocabulary);

  // Any bytes; U+2581 and a space are the same. Appends the tokens.
  void encode(std::string_view text, std::vector<TokenId>& out) const;

 private:
  struct Symbol {
    std::uint32_t begin;
    std::uint32_t length;  // 0: swallowed by its left neighbour
    std::int32_t previous;
    std::int32_t next;
    TokenId token;
  };

  struct Candidate {
    float score;
    std::uint32_t left;
    std::uint32_t right;
    std::uint32_t length;
    TokenId token;
  };

  struct Scratch {
    std::vector<Symbol> symbols;
    std::vector<Candidate> heap;
  };

  // A stretch that no token reaches into or out of.
  void encode_stretch(std::string_view text, Scratch& scratch, std::vector<TokenId>& out) const;
  void merge(std::string_view text, Scratch& scratch) const;
  bool add_candidate(std::string_view text,
                     std::int32_t left,
                     std::int32_t right,
                     Scratch& scratch) const;
  void append_bytes(std::string_view character, std::vector<TokenId>& out) const;

  const Vocabulary* vocabulary_;
  std::bitset<65536>
      inner_pairs_;  // [first << 8 | second]: these two bytes are neighbours inside some token
};

}  // namespace edgewise::text
