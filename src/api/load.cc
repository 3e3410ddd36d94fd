// GET /edgewise/load: how the engines stand, for servers that give this one requests (src/nodes)
#include "api/load_json.h"
#include "api/routes.h"

namespace edgewise::api {

void handle_load(const RouteContext& context, const net::Request& request, Reply reply) {
  ServerLoad load;
  const std::size_t key = context.keys.find(request.header("Authorization")).value_or(0);
  load.may_name_tenants = context.keys.policy(key).front;
  if (!context.keys.is_open() && !load.may_name_tenants) {  // it would tell what other keys ask
    reply.send_error({.status = 403,
                      .message = "This key is no server's: it needs the setting front=true here.",
                      .code = "not_a_server"});
    return;
  }
  load.is_draining = context.is_draining();
  for (const auto& model : context.models.all()) {
    const ModelCard& card = model->card();
    if (card.generates) {
      load.models.push_back(
          {.id = card.id, .group = card.group, .accuracy = card.accuracy, .load = model->load()});
    }
  }
  reply.send_json(load_json(load));
}

}  // namespace edgewise::api
