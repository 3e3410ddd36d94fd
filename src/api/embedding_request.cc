#include "api/embedding_request.h"

#include <limits>

#include "api/sampling_fields.h"

namespace edgewise::api {

tl::expected<EmbeddingRequest, ApiError> parse_embedding_request(const JsonValue& body,
                                                                 const ModelCard& card) {
  Problem problem;
  Fields request(body, "", problem);
  EmbeddingRequest result;
  request.required_string("model");
  if (!problem.is_set() && !card.embeds) {
    problem.report("model",
                   fmt::format("The model \"{}\" generates text and has no embeddings; serve an "
                               "embedding model for this.",
                               card.id),
                   "unsupported_model");
  }
  if (const JsonValue* input = request.get("input")) {
    result.inputs = parse_texts(*input, "input", card, kMaxEmbeddingInputs, problem);
  }
  if (!problem.is_set() && result.inputs.empty()) {
    problem.report("input", "input: required.", "missing_required_parameter");
  }
  for (const TextOrTokens& text : result.inputs) {
    if (std::visit([](const auto& content) { return content.empty(); }, text)) {
      problem.report("input", "input: must not be empty.");
    }
  }
  request.accept_only("encoding_format", {"float", "base64"}, "there are no other encodings");
  if (const std::string* format = request.string("encoding_format")) {
    result.base64 = *format == "base64";
  }
  const auto dimensions =
      request.integer("dimensions", 1, std::numeric_limits<std::int32_t>::max());
  if (dimensions && *dimensions != card.embedding_width) {
    problem.report(
        "dimensions",
        fmt::format(
            "dimensions: this model's embeddings have {} dimensions; they cannot be shortened.",
            card.embedding_width),
        "unsupported_value");
  }
  request.string("user");
  request.finish();
  if (problem.is_set()) {
    return tl::unexpected(problem.error());
  }
  return result;
}

}  // namespace edgewise::api
