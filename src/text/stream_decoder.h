// Tokens in, whole UTF-8 characters out: never emits half a character while streaming.
#pragma once

#include <string>

#include "base/ids.h"

namespace edgewise::text {

class Tokenizer;

class StreamDecoder {
 public:
  // A SentencePiece model marks the first word of a text with a space that was not there; it is
  // left out at the start unless the tokens continue an earlier text (`continues_text`: a
  // completion of a prompt). Keeps a reference to `tokenizer`.
  explicit StreamDecoder(const Tokenizer& tokenizer,
                         bool with_special = false,
                         bool continues_text = false);

  // The text that became complete with this token; empty while a character is still open. Bytes
  // that can not become valid UTF-8 turn into U+FFFD.
  std::string push(TokenId token);

  // What is left at the end (an open character becomes U+FFFD).
  std::string finish();

 private:
  const Tokenizer& tokenizer_;
  bool with_special_;
  bool at_start_;
  std::string pending_;
};

}  // namespace edgewise::text
