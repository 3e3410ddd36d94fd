// POST /v1/chat/completions
#include "api/chat_format.h"
#include "api/chat_request.h"
#include "api/generation_service.h"

namespace edgewise::api {

void handle_chat(const RouteContext& context, const net::Request& request, Reply reply) {
  const auto body = parse_body(request.body);
  const auto models = body ? context.models.find(*body) : tl::unexpected(body.error());
  if (!models) {
    reply.send_error(models.error());
    return;
  }
  const std::shared_ptr<Backend> backend = models->front();
  const ModelCard& card = backend->card();
  auto parsed = parse_chat_request(*body, card);
  if (!parsed) {
    reply.send_error(parsed.error());
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
  auto ticket = settle_service(context, request, card, fields);
  if (!ticket) {
    reply.send_error(ticket.error());
    return;
  }
  auto format = make_chat_format(make_identity("chatcmpl", card),
                                 fields.options.sampling.top_logprobs >= 0, fields.stream_usage);
  GenerationJob::run(
      backend, std::move(reply), std::move(format), job_options(fields, 1, std::move(*ticket)),
      [&](int choice, chat::Sink sink) {
        chat::GenerationOptions generation = fields.options;
        generation.sampling.seed = seed_of_choice(fields.options.sampling.seed, choice);
        return backend->start_chat(parsed->input, std::move(generation), std::move(sink));
      });
}

}  // namespace edgewise::api
