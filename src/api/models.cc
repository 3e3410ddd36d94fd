// GET /v1/models, GET /v1/models/{id}
#include "api/json_writer.h"
#include "api/routes.h"

namespace edgewise::api {
namespace {

void write_model(JsonWriter& out, const std::string& name, const ModelCard& card) {
  out.begin_object().key("id").string(name).key("object").string("model");
  out.key("created").integer(card.created).key("owned_by").string("edgewise").end_object();
}

}  // namespace

void handle_model_list(const RouteContext& context, const net::Request& /*request*/, Reply reply) {
  JsonWriter out;
  out.begin_object().key("object").string("list").key("data").begin_array();
  for (const auto& model : context.models.all()) {
    write_model(out, model->card().id, model->card());
  }
  for (const std::string& group : context.models.groups()) {
    write_model(out, group, context.models.find(group).front()->card());
  }
  out.end_array().end_object();
  reply.send_json(out.take());
}

void handle_model(const RouteContext& context, const net::Request& request, Reply reply) {
  const ServedModels::Members found = context.models.find(request.tail);
  if (found.empty()) {
    reply.send_error(context.models.no_such_model(request.tail));
    return;
  }
  JsonWriter out;
  const ModelCard& card = found.front()->card();
  write_model(out, request.tail == card.group ? card.group : card.id, card);
  reply.send_json(out.take());
}

}  // namespace edgewise::api
