// The body of POST /v1/embeddings as a typed request.
#pragma once

#include <string_view>
#include <vector>

#include "api/prompt_fields.h"

namespace edgewise::api {

constexpr std::size_t kMaxEmbeddingInputs = 2048;

struct EmbeddingRequest {
  std::vector<TextOrTokens> inputs;
  bool base64 = false;  // little-endian floats, as OpenAI's clients ask for by default
};

tl::expected<EmbeddingRequest, ApiError> parse_embedding_request(const JsonValue& body,
                                                                 const ModelCard& card);

}  // namespace edgewise::api
