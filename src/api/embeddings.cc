// POST /v1/embeddings
#include "api/embedding_job.h"
#include "api/embedding_request.h"
#include "api/routes.h"

namespace edgewise::api {

void handle_embedding(const RouteContext& context, const net::Request& request, Reply reply) {
  Backend& backend = *context.backend;
  auto parsed = parse_embedding_request(request.body, backend.card());
  Problem problem;
  refuse_service_headers(request, problem);
  if (parsed && problem.is_set()) {
    parsed = tl::unexpected(problem.error());
  }
  if (!parsed) {
    reply.send_error(parsed.error());
    return;
  }
  std::vector<std::vector<TokenId>> inputs;
  inputs.reserve(parsed->inputs.size());
  for (const TextOrTokens& input : parsed->inputs) {
    const auto* tokens = std::get_if<std::vector<TokenId>>(&input);
    inputs.push_back(tokens ? *tokens : backend.encode(std::get<std::string>(input)));
  }
  EmbeddingJob::run(context.backend, std::move(reply), std::move(inputs), parsed->base64,
                    context.post);
}

}  // namespace edgewise::api
