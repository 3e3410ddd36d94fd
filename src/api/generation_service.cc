#include "api/generation_service.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <vector>

#include "api/json_writer.h"
#include "base/hash.h"

namespace edgewise::api {
namespace {

bool names_group(const GenerationFields& fields, const ModelCard& card) {
  return !card.group.empty() && fields.model == card.group;
}

std::vector<std::uint64_t> beginnings_of(std::span<const TokenId> prompt) {
  std::vector<std::uint64_t> hashes;
  std::uint64_t hash = 0;
  for (std::size_t end = PlacedRequest::kBlock; end <= prompt.size();
       end += PlacedRequest::kBlock) {
    const auto block = prompt.subspan(end - PlacedRequest::kBlock, PlacedRequest::kBlock);
    hash = fnv1a(std::as_bytes(block), split_mix(hash));
    hashes.push_back(hash);
  }
  return hashes;
}

// Fields go before headers, and time will have passed, so deadlines are sent as headers.
std::string forwarded_fields(const JsonValue& body) {
  std::string text;
  for (const JsonValue::Member& member : *body.as_object()) {
    if (member.name != "model" && member.name != "deadline_ms" &&
        member.name != "first_token_deadline_ms") {
      text += fmt::format(",{}:{}", to_json(JsonValue(member.name)), to_json(member.value));
    }
  }
  return text;
}

void check_deadlines(const ServiceLevel& level, Problem& problem) {
  if (level.deadline && level.first_token_deadline &&
      *level.first_token_deadline > *level.deadline) {
    problem.report("first_token_deadline_ms",
                   "first_token_deadline_ms: must not be later than deadline_ms.");
  }
}

// `options` has the route's own maximum. A key's default gives way where it contradicts what was asked for.
void set_lengths(const ServiceLevel& asked,
                 const ServiceLevel& level,
                 chat::GenerationOptions& options) {
  options.min_tokens = level.min_tokens.value_or(0);
  options.max_tokens = level.max_tokens.value_or(options.max_tokens);
  if (level.max_tokens && !asked.max_tokens) {
    options.max_tokens = std::max(options.max_tokens, asked.min_tokens.value_or(0));
  }
  if (!asked.min_tokens && options.max_tokens >= 0) {
    options.min_tokens = std::min(options.min_tokens, options.max_tokens);
  }
}

void check_lengths(const chat::GenerationOptions& options, Problem& problem) {
  if (options.max_tokens >= 0 && options.min_tokens > options.max_tokens) {
    problem.report("min_tokens", "min_tokens: must not be more than the maximum.");
  }
}

}  // namespace

tl::expected<KeyLimits::Ticket, ApiError> settle_service(const RouteContext& context,
                                                         const net::Request& request,
                                                         ServedModels::Members models,
                                                         GenerationFields& fields) {
  const ModelCard& card = models.front()->card();
  if (!card.generates) {
    return tl::unexpected(ApiError{
        .message = fmt::format("The model \"{}\" makes embeddings; it does not generate text. "
                               "Use /v1/embeddings.",
                               card.id),
        .param = "model",
        .code = "unsupported_model"});
  }
  const std::size_t key = context.keys.find(request.header("Authorization")).value_or(0);
  const KeyPolicy& policy = context.keys.policy(key);
  Problem problem;
  const ServiceLevel asked = fields.service.over(parse_service_headers(
      request, policy.front, policy.front || context.keys.is_open(), problem));
  fields.service = asked.over(policy.defaults);
  if (!asked.first_token_deadline && fields.service.deadline) {  // a default gives way
    fields.service.first_token_deadline =
        std::min(fields.service.first_token_deadline.value_or(*fields.service.deadline),
                 *fields.service.deadline);
  }
  chat::GenerationOptions& options = fields.options;
  options.approximate_reuse = fields.service.approximate_reuse.value_or(false);
  options.ignore_eos = fields.service.ignore_eos.value_or(false);
  options.priority = static_cast<int>(fields.service.priority.value_or(0));
  set_lengths(asked, fields.service, options);
  check_deadlines(fields.service, problem);
  check_lengths(options, problem);
  std::vector<const ModelCard*> cards;
  for (const auto& model : models) {
    cards.push_back(&model->card());
  }
  const double elsewhere = names_group(fields, card) && others_may_answer(context, request, models)
                               ? context.placement->best_accuracy(card.group)
                               : 0.0;
  check_accuracy(fields.service, cards, elsewhere, problem);
  if (problem.is_set()) {
    return tl::unexpected(problem.error());
  }
  if (fields.service.deadline) {
    options.deadline = request.arrived + *fields.service.deadline;
  }
  if (fields.service.first_token_deadline) {
    options.first_token_deadline = request.arrived + *fields.service.first_token_deadline;
  }
  // Prompts of different keys do not share cached prefixes: timing would tell one tenant what another
  // asked.
  options.tenant = context.keys.tenant(key);
  if (policy.front) {
    options.tenant += fmt::format("/{}", request.header(kTenantHeader));
  }
  options.share = policy.share;
  options.label = request.id;
  return enter_limits(context, key, card);
}

tl::expected<KeyLimits::Ticket, ApiError> enter_limits(const RouteContext& context,
                                                       std::size_t key,
                                                       const ModelCard& card) {
  auto ticket = context.limits.enter(key);
  if (!ticket) {
    context.metrics->of(card.id).count_refusal(ticket.error().code);
  }
  return ticket;
}

admission::Prospect prospect_of(const chat::GenerationOptions& options,
                                std::int64_t prompt_tokens) {
  return {.prompt_tokens = prompt_tokens,
          .max_tokens = options.max_tokens,
          .min_tokens = options.min_tokens,
          .ignore_eos = options.ignore_eos,
          .deadline = options.deadline,
          .first_token_deadline = options.first_token_deadline};
}

bool others_may_answer(const RouteContext& context,
                       const net::Request& request,
                       ServedModels::Members models) {
  return context.placement != nullptr && request.header(kForwardedHeader).empty() &&
         context.placement->concerns(models);
}

void place(const RouteContext& context,
           const net::Request& request,
           ServedModels::Members models,
           const GenerationFields& fields,
           std::span<const std::vector<TokenId>> prompts,
           const JsonValue& body,
           Reply reply,
           KeyLimits::Ticket ticket,
           std::function<void(const std::shared_ptr<Backend>&, Reply, KeyLimits::Ticket)> answer) {
  const ModelCard& first = models.front()->card();
  const auto& longest =
      *std::ranges::max_element(prompts, {}, [](const auto& prompt) { return prompt.size(); });
  if (std::ssize(longest) >= first.context) {
    reply.send_error(to_api_error(
        {.code = ErrorCode::kResourceExhausted,
         .message = fmt::format("the prompt has {} tokens, which leaves no room for an answer in "
                                "a context of {}",
                                longest.size(), first.context)}));
    return;
  }
  auto placed = std::make_unique<PlacedRequest>(
      PlacedRequest{.name = names_group(fields, first) ? first.group : first.id,
                    .ids = {},
                    .here = {},
                    .prospect = prospect_of(fields.options, std::ssize(longest)),
                    .beginnings = beginnings_of(longest),
                    .prompt_tokens = 0,
                    .sequences = fields.choices * std::ssize(prompts),
                    .service = fields.service,
                    .tenant = fields.options.tenant,
                    .share = fields.options.share,
                    .path = request.path,
                    .fields = forwarded_fields(body),
                    .reply = std::move(reply),
                    .ticket = std::move(ticket),
                    .answer_here = {}});
  for (const auto& prompt : prompts) {
    placed->prompt_tokens += std::ssize(prompt);
  }
  for (const auto& model : models) {
    placed->ids.push_back(model->card().id);
    if (is_accurate(model->card(), fields.service.min_accuracy.value_or(0.0))) {
      placed->here.push_back(model);
    }
  }
  placed->answer_here = [post = context.post, answer = std::move(answer)](
                            std::shared_ptr<Backend> model, Reply to, KeyLimits::Ticket held,
                            std::function<void()> started) {
    post([answer, model = std::move(model), to = std::move(to), held = std::move(held),
          started = std::move(started)]() mutable {
      answer(model, std::move(to), std::move(held));
      started();
    });
  };
  context.placement->place(std::move(placed));
}

JobOptions job_options(const GenerationFields& fields, int prompts, KeyLimits::Ticket ticket) {
  JobOptions options;
  options.choices = fields.choices * prompts;
  options.choices_per_prompt = fields.choices;
  options.stream = fields.stream;
  options.stream_usage = fields.stream_usage;
  options.moved_parts = fields.moved_parts;
  options.deadline = fields.service.deadline;
  options.link = {.group = fields.options.tenant,
                  .group_share = fields.options.share,
                  .weight = std::exp2(fields.options.priority),
                  .deadline = fields.options.deadline};
  options.ticket = std::move(ticket);
  return options;
}

void plan_delivery(const RouteContext& context,
                   bool is_chat,
                   ReplyFormat& format,
                   GenerationFields& fields,
                   JobOptions& job) {
  constexpr std::int64_t kUsualAnswer = 256;  // tokens, where the request does not say
  if (context.sizes == nullptr) {
    return;
  }
  chat::GenerationOptions& options = fields.options;
  job.sizes = context.sizes;
  job.kind = {
      .chat = is_chat, .stream = fields.stream, .top_logprobs = options.sampling.top_logprobs};
  options.delivery = context.sizes->delivery(job.kind, fields.stream ? event_bytes(format) : 0.0);
  const std::int64_t tokens = options.max_tokens >= 0 ? options.max_tokens : kUsualAnswer;
  job.link.expected_bytes = job.choices * options.delivery.bytes(tokens);
}

}  // namespace edgewise::api
