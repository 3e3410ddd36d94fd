// GET /v1/models, GET /v1/models/{id}
#include "api/json_writer.h"
#include "api/routes.h"

namespace edgewise::api {
namespace {

void write_model(JsonWriter& out, const ModelCard& card) {
  out.begin_object().key("id").string(card.id).key("object").string("model");
  out.key("created").integer(card.created).key("owned_by").string("edgewise").end_object();
}

}  // namespace

void handle_model_list(const RouteContext& context, const net::Request& /*request*/, Reply reply) {
  JsonWriter out;
  out.begin_object().key("object").string("list").key("data").begin_array();
  write_model(out, context.backend->card());
  out.end_array().end_object();
  reply.send_json(out.take());
}

void handle_model(const RouteContext& context, const net::Request& request, Reply reply) {
  const ModelCard& card = context.backend->card();
  if (!card.answers_to(request.tail)) {
    reply.send_error(
        {.status = 404,
         .message = fmt::format("The model \"{}\" does not exist here; this server serves \"{}\".",
                                request.tail.substr(0, 200), card.id),
         .param = "model",
         .code = "model_not_found"});
    return;
  }
  JsonWriter out;
  write_model(out, card);
  reply.send_json(out.take());
}

}  // namespace edgewise::api
