// Whether two models mean the same by their token ids, so that one may guess for the other.
#pragma once

#include "base/result.h"
#include "text/tokenizer.h"

namespace edgewise::text {

// Vocabularies are padded to round sizes, one model's more than another's; beyond this it is no
// padding.
inline constexpr std::int64_t kMostPadding = 256;

// Fails with the first token id whose text, or whose role (control, end of an answer), is not the
// same in both.
Result<void> check_same_vocabulary(const Tokenizer& a, const Tokenizer& b);

}  // namespace edgewise::text
