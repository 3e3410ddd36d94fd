// Refuses a text that no context holds before time is spent on it: the largest body that a server
// takes needs seconds to become tokens. Any thread.
#pragma once

#include <cstdint>
#include <string_view>

#include "base/result.h"
#include "text/tokenizer.h"

namespace edgewise::chat {

// An error when `text` certainly has more than `context` tokens.
Result<void> check_prompt_length(const text::Tokenizer& tokenizer,
                                 std::string_view text,
                                 std::int64_t context);

}  // namespace edgewise::chat
