// Text ⇄ token ids, by GGUF's own semantics (tokenizer.ggml.* keys). Immutable after creation; any
// thread.
//
// Three families: byte-level BPE ("gpt2", with the pre-tokenizer named by tokenizer.ggml.pre),
// SentencePiece BPE by score with byte fallback ("llama"), WordPiece ("bert").
#pragma once

#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/ids.h"
#include "base/result.h"
#include "tensor/model_file.h"

namespace edgewise::text {

struct EncodeOptions {
  bool add_special = true;  // BOS/EOS/CLS/SEP as the model's metadata asks
  bool parse_special =
      true;  // text that spells a control token becomes that token (off for user-supplied data)
};

class Tokenizer {
 public:
  static Result<std::unique_ptr<const Tokenizer>> create(const tensor::Metadata& metadata);
  virtual ~Tokenizer() = default;

  // Any bytes are accepted; invalid UTF-8 is encoded byte by byte or as the family defines it.
  virtual std::vector<TokenId> encode(std::string_view text, EncodeOptions options = {}) const = 0;

  // No encoding of `text` has fewer tokens; 0 where that is not known. A thousandth of encode's work.
  virtual std::int64_t fewest_tokens(std::string_view /*text*/) const { return 0; }

  // The bytes that a token stands for, appended to `out` (may be part of a character). Control
  // tokens contribute nothing unless `with_special`.
  virtual void append_bytes(TokenId token, bool with_special, std::string& out) const = 0;

  // All tokens of a sequence as text, leading space of SentencePiece removed as the model asks.
  virtual std::string decode(std::span<const TokenId> tokens, bool with_special = false) const = 0;

  virtual std::int64_t vocab_size() const = 0;
  virtual std::string_view token_text(TokenId token) const = 0;  // as stored in the vocabulary
  virtual bool is_control(TokenId token) const = 0;
  virtual bool is_end_of_generation(
      TokenId token) const = 0;     // EOS, EOT, <|im_end|>, <end_of_turn>, ...
  virtual TokenId bos() const = 0;  // -1: none
  virtual TokenId eos() const = 0;  // -1: none
  virtual bool adds_bos() const = 0;
  virtual bool adds_space_prefix() const = 0;
};

}  // namespace edgewise::text
