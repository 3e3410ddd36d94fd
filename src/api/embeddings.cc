// POST /v1/embeddings
#include "api/embedding_job.h"
#include "api/embedding_request.h"
#include "api/generation_service.h"
#include "api/routes.h"

namespace edgewise::api {

void handle_embedding(const RouteContext& context, const net::Request& request, Reply reply) {
  const auto body = parse_body(request.body);
  const auto models = body ? context.models.find(*body) : tl::unexpected(body.error());
  if (!models) {
    reply.send_error(models.error());
    return;
  }
  const std::shared_ptr<Backend> backend = models->front();
  auto parsed = parse_embedding_request(*body, backend->card());
  Problem problem;
  refuse_service_headers(request, problem);
  if (parsed && problem.is_set()) {
    parsed = tl::unexpected(problem.error());
  }
  if (!parsed) {
    reply.send_error(parsed.error());
    return;
  }
  const std::size_t key = context.keys.find(request.header("Authorization")).value_or(0);
  auto ticket = enter_limits(context, key, backend->card());
  if (!ticket) {
    reply.send_error(ticket.error());
    return;
  }
  std::vector<std::vector<TokenId>> inputs;
  inputs.reserve(parsed->inputs.size());
  for (const TextOrTokens& input : parsed->inputs) {
    if (const auto* tokens = std::get_if<std::vector<TokenId>>(&input)) {
      inputs.push_back(*tokens);
      continue;
    }
    auto tokens = backend->encode(std::get<std::string>(input));
    if (!tokens) {
      ApiError error = to_api_error(tokens.error());
      error.param = "input";
      reply.send_error(error);
      return;
    }
    inputs.push_back(std::move(*tokens));
  }
  EmbeddingJob::run(backend, std::move(reply), std::move(inputs), parsed->base64, context.post,
                    std::move(*ticket));
}

}  // namespace edgewise::api
