#include "api/completion_request.h"

namespace edgewise::api {
namespace {

constexpr std::int64_t kDefaultMaxTokens = 16;  // OpenAI's

void parse_legacy_logprobs(Fields& request, CompletionRequest& result) {
  const auto alternatives = request.integer("logprobs", 0, 20);
  result.echo = request.boolean("echo").value_or(false);
  if (alternatives && result.echo) {
    request.problem().report(
        "echo",
        "echo: not supported together with logprobs: the prompt's own log-probabilities are not "
        "computed.",
        "unsupported_parameter");
  }
  result.generation.options.sampling.top_logprobs = static_cast<int>(alternatives.value_or(-1));
}

void parse_counts(Fields& request, CompletionRequest& result) {
  const auto best_of = request.integer("best_of", 1, kMaxChoices);
  if (best_of && *best_of != result.generation.choices) {
    request.problem().report("best_of", "best_of: only supported when equal to n.",
                             "unsupported_value");
  }
  result.generation.options.max_tokens = kDefaultMaxTokens;
  result.generation.service.max_tokens = request.integer("max_tokens", 1, kManyTokens);
}

}  // namespace

tl::expected<CompletionRequest, ApiError> parse_completion_request(const JsonValue& body,
                                                                   const ModelCard& card) {
  Problem problem;
  Fields request(body, "", problem);
  CompletionRequest result;
  result.generation = parse_generation_fields(request, card);
  if (const JsonValue* prompt = request.get("prompt")) {
    result.prompts = parse_texts(*prompt, "prompt", card, kMaxPrompts, problem);
  } else {
    result.prompts.emplace_back(
        std::string());  // "the beginning of a new document", where the model has a token for that
  }
  request.refuse("suffix", "filling in the middle is not implemented");
  parse_legacy_logprobs(request, result);
  parse_counts(request, result);
  result.generation.options.sampling.grammar = parse_guides(request);
  request.finish();
  if (problem.is_set()) {
    return tl::unexpected(problem.error());
  }
  return result;
}

}  // namespace edgewise::api
