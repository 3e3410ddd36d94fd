// The body of POST /v1/chat/completions as a typed request. Every field of OpenAI's clients is
// honoured here or refused with the reason; docs/api.md lists them.
#pragma once

#include <string_view>

#include "api/sampling_fields.h"

namespace edgewise::api {

struct ChatRequest {
  GenerationFields generation;
  chat::ChatInput input;
};

tl::expected<ChatRequest, ApiError> parse_chat_request(const JsonValue& body,
                                                       const ModelCard& card);

// Body → object, or the error for what is no JSON object at all.
}  // namespace edgewise::api
