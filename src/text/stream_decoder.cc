#include "text/stream_decoder.h"

#include "text/tokenizer.h"
#include "text/unicode.h"

namespace edgewise::text {

StreamDecoder::StreamDecoder(const Tokenizer& tokenizer, bool with_special, bool continues_text)
    : tokenizer_(tokenizer),
      with_special_(with_special),
      at_start_(!continues_text && tokenizer.adds_space_prefix()) {}

std::string StreamDecoder::push(TokenId token) {
  const std::size_t before = pending_.size();
  tokenizer_.append_bytes(token, with_special_, pending_);
  if (at_start_ && pending_.size() > before && !tokenizer_.is_control(token)) {
    at_start_ = false;
    if (pending_[before] == ' ') {
      pending_.erase(before, 1);
    }
  }
  const std::size_t complete = pending_.size() - open_character_bytes(pending_);
  std::string out;
  append_as_valid_utf8(std::string_view(pending_).substr(0, complete), out);
  pending_.erase(0, complete);
  return out;
}

std::string StreamDecoder::finish() {
  std::string out;
  append_as_valid_utf8(pending_, out);
  pending_.clear();
  return out;
}

}  // namespace edgewise::text
