// POST /v1/chat/completions
#include "api/chat_format.h"
#include "api/chat_request.h"
#include "api/generation_job.h"
#include "api/routes.h"

namespace edgewise::api {

std::string cache_scope(const RouteContext& context, const net::Request& request) {
  if (context.keys.is_open()) {
    return {};
  }
  return fmt::format("key-{}", context.keys.find(request.header("Authorization")).value_or(0));
}

void handle_chat(const RouteContext& context, const net::Request& request, Reply reply) {
  const ModelCard& card = context.backend->card();
  auto parsed = parse_chat_request(request.body, card);
  if (!parsed) {
    reply.send_error(parsed.error());
    return;
  }
  if (!card.generates) {
    reply.send_error({.message = fmt::format(
                          "The model \"{}\" makes embeddings; it does not generate text.", card.id),
                      .param = "model",
                      .code = "unsupported_model"});
    return;
  }
  if (!card.has_chat_template) {
    reply.send_error(
        {.message = fmt::format(
             "The model \"{}\" has no chat template. Use /v1/completions, or start the server "
             "with --chat-template FILE.",
             card.id),
         .param = "messages",
         .code = "no_chat_template"});
    return;
  }
  GenerationFields& fields = parsed->generation;
  fields.options.cache_scope = cache_scope(context, request);
  JobOptions options;
  options.choices = fields.choices;
  options.choices_per_prompt = fields.choices;
  options.stream = fields.stream;
  options.stream_usage = fields.stream_usage;
  options.deadline = fields.deadline;
  auto format = make_chat_format(make_identity("chatcmpl", card),
                                 fields.options.sampling.top_logprobs >= 0, fields.stream_usage);
  GenerationJob::run(
      context.backend, std::move(reply), std::move(format), options,
      [&](int choice, chat::Sink sink) {
        chat::GenerationOptions generation = fields.options;
        generation.sampling.seed = seed_of_choice(fields.options.sampling.seed, choice);
        return context.backend->start_chat(parsed->input, std::move(generation), std::move(sink));
      });
}

}  // namespace edgewise::api
