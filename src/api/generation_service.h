// What text and chat completions do alike between the parsed request and its job: settle the
// service level, hold the key to its limits, refuse what the model cannot do.
#pragma once

#include "api/generation_job.h"
#include "api/routes.h"
#include "api/sampling_fields.h"

namespace edgewise::api {

// `models`: who may answer. Completes `fields` from headers and the key's defaults. Fails with what is refused, and why;
// else the ticket under which the request is served.
tl::expected<KeyLimits::Ticket, ApiError> settle_service(const RouteContext& context,
                                                         const net::Request& request,
                                                         ServedModels::Members models,
                                                         GenerationFields& fields);

// Holds the key to its limits; a refusal is counted as one of the model's.
tl::expected<KeyLimits::Ticket, ApiError> enter_limits(const RouteContext& context,
                                                       std::size_t key,
                                                       const ModelCard& card);

// What a choice between models has to know of a request.
admission::Prospect prospect_of(const chat::GenerationOptions& options, std::int64_t prompt_tokens);

// Whether other servers may answer for these models, too.
bool others_may_answer(const RouteContext& context,
                       const net::Request& request,
                       ServedModels::Members models);

// Has the request answered by whoever has time for it. `models`: of this server's; `prompts`: at least one; `answer`: has one of them answer, on a
// handler's thread.
void place(const RouteContext& context,
           const net::Request& request,
           ServedModels::Members models,
           const GenerationFields& fields,
           std::span<const std::vector<TokenId>> prompts,
           const JsonValue& body,
           Reply reply,
           KeyLimits::Ticket ticket,
           std::function<void(const std::shared_ptr<Backend>&, Reply, KeyLimits::Ticket)> answer);

JobOptions job_options(const GenerationFields& fields, int prompts, KeyLimits::Ticket ticket);

// On a limited link: what the answers are going to take of it, for admission (`fields`) and for taking turns (`job`).
void plan_delivery(const RouteContext& context,
                   bool is_chat,
                   ReplyFormat& format,
                   GenerationFields& fields,
                   JobOptions& job);

}  // namespace edgewise::api
