// POST /v1/completions
#include <algorithm>

#include "api/choice.h"
#include "api/completion_format.h"
#include "api/completion_request.h"
#include "api/generation_service.h"

namespace edgewise::api {
namespace {

Result<std::vector<TokenId>> tokens_of(const Backend& backend, const TextOrTokens& prompt) {
  if (const auto* tokens = std::get_if<std::vector<TokenId>>(&prompt)) {
    return *tokens;
  }
  return backend.encode(std::get<std::string>(prompt));
}

// Fails with what the client is told.
tl::expected<std::vector<std::vector<TokenId>>, ApiError> encode_prompts(
    const Backend& backend, const std::vector<TextOrTokens>& prompts) {
  std::vector<std::vector<TokenId>> encoded;
  for (const TextOrTokens& prompt : prompts) {
    auto tokens = tokens_of(backend, prompt);
    if (!tokens) {
      ApiError error = to_api_error(tokens.error());
      error.param = "prompt";
      return tl::unexpected(std::move(error));
    }
    if (tokens->empty()) {
      return tl::unexpected(ApiError{
          .message = "prompt: must not be empty: this model has no token that begins a text.",
          .param = "prompt",
          .code = "invalid_value"});
    }
    encoded.push_back(std::move(*tokens));
  }
  return encoded;
}

std::string text_of(const Backend& backend, const TextOrTokens& prompt) {
  const auto* text = std::get_if<std::string>(&prompt);
  return text ? *text : backend.decode(std::get<std::vector<TokenId>>(prompt));
}

// Before each choice; none where none is asked for.
std::vector<std::string> echoes_of(const Backend& backend, const CompletionRequest& request) {
  std::vector<std::string> echoes;
  if (request.echo) {
    for (const TextOrTokens& prompt : request.prompts) {
      echoes.insert(echoes.end(), static_cast<std::size_t>(request.generation.choices),
                    text_of(backend, prompt));
    }
  }
  return echoes;
}

struct Completion {
  CompletionRequest request;
  std::vector<std::vector<TokenId>> prompts;
};

void answer_completion(const RouteContext& context,
                       const std::shared_ptr<Backend>& backend,
                       Completion& work,
                       Reply reply,
                       KeyLimits::Ticket ticket) {
  GenerationFields& fields = work.request.generation;
  CompletionFormatOptions format_options;
  format_options.with_logprobs = fields.options.sampling.top_logprobs >= 0;
  format_options.usage_follows = fields.stream_usage;
  format_options.echoes = echoes_of(*backend, work.request);
  auto format =
      make_completion_format(make_identity("cmpl", backend->card()), std::move(format_options));
  JobOptions job = job_options(fields, static_cast<int>(work.prompts.size()), std::move(ticket));
  plan_delivery(context, false, *format, fields, job);
  GenerationJob::run(backend, std::move(reply), std::move(format), std::move(job),
                     [&](int choice, chat::Sink sink) {
                       chat::GenerationOptions generation = fields.options;
                       generation.sampling.seed =
                           seed_of_choice(fields.options.sampling.seed, choice % fields.choices);
                       return backend->start_completion(
                           work.prompts[static_cast<std::size_t>(choice / fields.choices)],
                           std::move(generation), std::move(sink));
                     });
}

}  // namespace

void handle_completion(const RouteContext& context, const net::Request& request, Reply reply) {
  const auto body = parse_body(request.body);
  const auto models = body ? context.models.find(*body) : tl::unexpected(body.error());
  if (!models) {
    reply.send_error(models.error());
    return;
  }
  const Backend& first = *models->front();
  const ModelCard& card = first.card();
  auto parsed = parse_completion_request(*body, card);
  if (!parsed) {
    reply.send_error(parsed.error());
    return;
  }
  GenerationFields& fields = parsed->generation;
  auto ticket = settle_service(context, request, *models, fields);
  if (!ticket) {
    reply.send_error(ticket.error());
    return;
  }
  auto prompts = encode_prompts(first, parsed->prompts);
  if (!prompts) {
    reply.send_error(prompts.error());
    return;
  }
  const auto work =
      std::make_shared<Completion>(Completion{std::move(*parsed), std::move(*prompts)});
  if (others_may_answer(context, request, *models)) {
    place(
        context, request, *models, work->request.generation, work->prompts, *body, std::move(reply),
        std::move(*ticket),
        [&context, work](const std::shared_ptr<Backend>& model, Reply to, KeyLimits::Ticket held) {
          answer_completion(context, model, *work, std::move(to), std::move(held));
        });
    return;
  }
  std::int64_t longest = 0;
  for (const auto& prompt : work->prompts) {
    longest = std::max(longest, std::ssize(prompt));
  }
  const GenerationFields& generation = work->request.generation;
  answer_completion(context,
                    choose_member(*models, generation.service.min_accuracy.value_or(0.0),
                                  prospect_of(generation.options, longest)),
                    *work, std::move(reply), std::move(*ticket));
}

}  // namespace edgewise::api
