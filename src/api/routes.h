// The handlers, one family a file. Each parses, starts the work and returns; replies come later.
#pragma once

#include "api/auth.h"
#include "api/key_limits.h"
#include "api/metrics.h"
#include "api/placement.h"
#include "api/reply.h"
#include "api/reply_size.h"
#include "api/served_models.h"
#include "net/http_server.h"
#include "net/router.h"

namespace edgewise::api {

// What handlers work with; outlives them.
struct RouteContext {
  const ServedModels& models;
  const std::shared_ptr<Metrics>& metrics;
  const ApiKeys& keys;
  KeyLimits& limits;
  std::shared_ptr<ReplySizes> sizes;                // null: the link is not limited
  std::shared_ptr<Placement> placement;             // null: there are no other servers
  std::function<void(std::function<void()>)> post;  // runs work on a handler thread
  std::function<net::HttpServerStats()> server_stats;
  std::function<trace::ExportCounts()> trace_counts;
  std::function<bool()> is_draining;
};

void handle_chat(const RouteContext& context, const net::Request& request, Reply reply);
void handle_completion(const RouteContext& context, const net::Request& request, Reply reply);
void handle_embedding(const RouteContext& context, const net::Request& request, Reply reply);
void handle_model_list(const RouteContext& context, const net::Request& request, Reply reply);
void handle_model(const RouteContext& context, const net::Request& request, Reply reply);
void handle_health(const RouteContext& context, const net::Request& request, Reply reply);
void handle_ready(const RouteContext& context, const net::Request& request, Reply reply);
void handle_load(const RouteContext& context, const net::Request& request, Reply reply);
void handle_metrics(const RouteContext& context, const net::Request& request, Reply reply);

}  // namespace edgewise::api
