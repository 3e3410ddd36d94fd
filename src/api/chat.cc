// POST /v1/chat/completions
#include "api/chat_format.h"
#include "api/chat_request.h"
#include "api/choice.h"
#include "api/generation_service.h"

namespace edgewise::api {
namespace {

Result<std::shared_ptr<Backend>> choose_for_chat(ServedModels::Members models,
                                                 const ChatRequest& request) {
  if (models.size() == 1) {
    return models.front();
  }
  const chat::GenerationOptions& options = request.generation.options;
  const std::vector<TokenId> prompt = TRY(models.front()->chat_prompt(request.input, options));
  return choose_member(models, request.generation.service.min_accuracy.value_or(0.0),
                       prospect_of(options, std::ssize(prompt)));
}

void answer_chat(const RouteContext& context,
                 const std::shared_ptr<Backend>& backend,
                 ChatRequest& request,
                 Reply reply,
                 KeyLimits::Ticket ticket) {
  GenerationFields& fields = request.generation;
  auto format = make_chat_format(make_identity("chatcmpl", backend->card()),
                                 fields.options.sampling.top_logprobs >= 0, fields.stream_usage);
  JobOptions job = job_options(fields, 1, std::move(ticket));
  plan_delivery(context, true, *format, fields, job);
  GenerationJob::run(
      backend, std::move(reply), std::move(format), std::move(job),
      [&](int choice, chat::Sink sink) {
        chat::GenerationOptions generation = fields.options;
        generation.sampling.seed = seed_of_choice(fields.options.sampling.seed, choice);
        return backend->start_chat(request.input, std::move(generation), std::move(sink));
      });
}

}  // namespace

void handle_chat(const RouteContext& context, const net::Request& request, Reply reply) {
  const auto body = parse_body(request.body);
  const auto models = body ? context.models.find(*body) : tl::unexpected(body.error());
  if (!models) {
    reply.send_error(models.error());
    return;
  }
  const ModelCard& card = models->front()->card();
  auto parsed = parse_chat_request(*body, card);
  if (!parsed) {
    reply.send_error(parsed.error());
    return;
  }
  if (card.generates && !card.has_chat_template) {
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
  auto ticket = settle_service(context, request, *models, fields);
  if (!ticket) {
    reply.send_error(ticket.error());
    return;
  }
  if (others_may_answer(context, request, *models)) {
    const auto prompt = models->front()->chat_prompt(parsed->input, fields.options);
    if (!prompt) {
      reply.send_error(to_api_error(prompt.error()));
      return;
    }
    const auto chat = std::make_shared<ChatRequest>(std::move(*parsed));
    place(
        context, request, *models, chat->generation, {&*prompt, 1}, *body, std::move(reply),
        std::move(*ticket),
        [&context, chat](const std::shared_ptr<Backend>& model, Reply to, KeyLimits::Ticket held) {
          answer_chat(context, model, *chat, std::move(to), std::move(held));
        });
    return;
  }
  const auto backend = choose_for_chat(*models, *parsed);
  if (!backend) {
    reply.send_error(to_api_error(backend.error()));
    return;
  }
  answer_chat(context, *backend, *parsed, std::move(reply), std::move(*ticket));
}

}  // namespace edgewise::api
