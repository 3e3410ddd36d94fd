// GET /health (the process answers), GET /ready (send work here), GET /metrics
#include "api/json_writer.h"
#include "api/routes.h"

namespace edgewise::api {

void handle_health(const RouteContext& context, const net::Request& /*request*/, Reply reply) {
  const double link = context.server_stats().link.bytes_per_s;
  JsonWriter out;
  out.begin_object().key("status").string("ok").key("downlink_kbps");
  link > 0.0 ? out.number(link * 8.0 / 1e3) : out.null();  // null: not limited
  reply.send_json(out.end_object().take());
}

void handle_ready(const RouteContext& context, const net::Request& /*request*/, Reply reply) {
  if (context.is_draining()) {
    reply.send(
        {.status = 503, .headers = {{"Retry-After", "1"}}, .body = R"({"status":"draining"})"});
    return;
  }
  reply.send_json(R"({"status":"ready"})");
}

void handle_metrics(const RouteContext& context, const net::Request& /*request*/, Reply reply) {
  std::vector<std::pair<std::string, engine::EngineStats>> engines;
  for (const auto& model : context.models.all()) {
    engines.emplace_back(model->card().id, model->stats());
  }
  std::optional<PlacementStats> placement;
  if (context.placement != nullptr) {
    placement = context.placement->stats();
  }
  reply.send({.content_type = "text/plain; version=0.0.4; charset=utf-8",
              .body = context.metrics->text(engines, context.server_stats(), context.trace_counts(),
                                            placement ? &*placement : nullptr)});
}

}  // namespace edgewise::api
