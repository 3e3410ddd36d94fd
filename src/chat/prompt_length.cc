#include "chat/prompt_length.h"

namespace edgewise::chat {

Result<void> check_prompt_length(const text::Tokenizer& tokenizer,
                                 std::string_view text,
                                 std::int64_t context) {
  const std::int64_t fewest = tokenizer.fewest_tokens(text);
  if (fewest > context) {
    return fail(ErrorCode::kResourceExhausted,
                "the prompt has at least {} tokens and the context holds {}; shorten the prompt or "
                "allow a longer context",
                fewest, context);
  }
  return {};
}

}  // namespace edgewise::chat
