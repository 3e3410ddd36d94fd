// The body of POST /v1/completions as a typed request.
#pragma once

#include <string_view>
#include <vector>

#include "api/prompt_fields.h"
#include "api/sampling_fields.h"

namespace edgewise::api {

constexpr std::size_t kMaxPrompts = 64;

struct CompletionRequest {
  GenerationFields generation;
  std::vector<TextOrTokens> prompts;
  bool echo = false;
};

tl::expected<CompletionRequest, ApiError> parse_completion_request(const JsonValue& body,
                                                                   const ModelCard& card);

}  // namespace edgewise::api
