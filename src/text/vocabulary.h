// The tokens of a model: text, bytes, kinds, scores, special roles. Read from tokenizer.ggml.*
// metadata with every count and id checked; immutable afterwards.
//
// A token has a *text* (as stored) and *bytes* (what it stands for in the text to encode). They
// differ by family: byte-level BPE stores each byte as one printable character (GPT-2's table);
// SentencePiece stores a space as U+2581.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/ids.h"
#include "base/result.h"
#include "tensor/model_file.h"
#include "text/spelling.h"
#include "text/string_table.h"

namespace edgewise::text {

// Bits; GGUF's tokenizer.ggml.token_type names one of them, texts like "<|im_end|>" can add
// kControl.
enum TokenKind : std::uint8_t {
  kUndefined = 0,
  kNormal = 1,
  kUnknown = 2,
  kControl = 4,
  kUserDefined = 8,
  kUnused = 16,
  kByte = 32,
  kEndOfGeneration = 64,
};

struct SpecialIds {  // -1: none
  TokenId bos = -1;
  TokenId eos = -1;
  TokenId unknown = -1;
  TokenId separator = -1;
  TokenId end_of_turn = -1;
  TokenId end_of_message = -1;
};

class Vocabulary {
 public:
  // `defaults` are the ids that hold when the metadata does not name them.
  static Result<Vocabulary> create(const tensor::Metadata& metadata,
                                   Spelling spelling,
                                   SpecialIds defaults);

  std::int64_t size() const { return static_cast<std::int64_t>(kinds_.size()); }

  bool contains(TokenId id) const { return id >= 0 && id < size(); }

  std::string_view text(TokenId id) const { return slice(texts_, text_ends_, id); }

  std::uint8_t kind(TokenId id) const { return kinds_[static_cast<std::size_t>(id)]; }

  bool is(TokenId id, std::uint8_t kinds) const { return (kind(id) & kinds) != 0; }

  float score(TokenId id) const {
    return scores_.empty() ? 0.0f : scores_[static_cast<std::size_t>(id)];
  }

  const SpecialIds& special() const { return special_; }

  // The bytes that encoding matches against; empty when ordinary text can not reach the token.
  std::string_view bytes(TokenId id) const { return slice(bytes_, byte_ends_, id); }

  // The token that stands for exactly these bytes, or -1.
  TokenId find(std::string_view bytes) const {
    return table_.find(bytes, [this](TokenId id) { return this->bytes(id); });
  }

  // The token for one byte: of its own (byte-level BPE) or of the form <0x0A> (SentencePiece); -1:
  // none.
  TokenId byte_token(std::uint8_t byte) const { return byte_tokens_[byte]; }

  // What decoding appends for a token that is shown.
  std::string_view piece(TokenId id) const;

 private:
  Vocabulary() = default;

  static std::string_view slice(const std::string& arena,
                                const std::vector<std::uint32_t>& ends,
                                TokenId id) {
    const auto i = static_cast<std::size_t>(id);
    const std::uint32_t begin = i == 0 ? 0 : ends[i - 1];
    return std::string_view(arena).substr(begin, ends[i] - begin);
  }

  Result<void> read_texts(const tensor::Metadata& metadata);
  Result<void> read_kinds(const tensor::Metadata& metadata);
  Result<void> read_scores(const tensor::Metadata& metadata);
  void spell_bytes(Spelling spelling);
  Result<void> find_byte_tokens(Spelling spelling);
  Result<void> read_special_ids(const tensor::Metadata& metadata, SpecialIds defaults);
  void mark_by_text();
  void unmark_channel_end();

  void mark(TokenId id, std::uint8_t kinds) { kinds_[static_cast<std::size_t>(id)] |= kinds; }

  std::string texts_;
  std::string bytes_;
  std::vector<std::uint32_t> text_ends_;
  std::vector<std::uint32_t> byte_ends_;
  std::vector<std::uint8_t> kinds_;
  std::vector<float> scores_;  // empty: none stored
  StringTable table_;
  std::vector<TokenId> byte_tokens_;  // [256]
  SpecialIds special_;
  std::vector<TokenId> fill_ids_;  // padding, repository, file separator of fill-in-the-middle
  std::string byte_values_;        // "\x00\x01..\xff": the pieces of byte tokens
};

}  // namespace edgewise::text
