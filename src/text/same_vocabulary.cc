#include "text/same_vocabulary.h"

#include <algorithm>
#include <cstdlib>

namespace edgewise::text {
namespace {

std::string describe(const Tokenizer& tokenizer, TokenId token) {
  return fmt::format("\"{}\"{}{}", tokenizer.token_text(token),
                     tokenizer.is_control(token) ? ", a control token" : "",
                     tokenizer.is_end_of_generation(token) ? ", which ends an answer" : "");
}

}  // namespace

Result<void> check_same_vocabulary(const Tokenizer& a, const Tokenizer& b) {
  const std::int64_t common = std::min(a.vocab_size(), b.vocab_size());
  for (TokenId token = 0; token < common; ++token) {
    if (a.token_text(token) != b.token_text(token) || a.is_control(token) != b.is_control(token) ||
        a.is_end_of_generation(token) != b.is_end_of_generation(token)) {
      return fail(ErrorCode::kInvalidArgument,
                  "the vocabularies differ: token {} is {} in one and {} in the other", token,
                  describe(a, token), describe(b, token));
    }
  }
  if (std::abs(a.vocab_size() - b.vocab_size()) > kMostPadding) {
    return fail(ErrorCode::kInvalidArgument,
                "the vocabularies differ: one has {} tokens and the other {}", a.vocab_size(),
                b.vocab_size());
  }
  return {};
}

}  // namespace edgewise::text
