// Everything that GET /metrics shows, in Prometheus' text format. Any thread.
//
// What others measure too has their names beside ours, so that existing dashboards work:
// gen_ai_server_... (OpenTelemetry's semantic conventions for generative AI) and vllm:...
#pragma once

#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>

#include "api/model_metrics.h"
#include "api/placement_stats.h"
#include "net/http_server.h"
#include "trace/exporter.h"

namespace edgewise::api {

class Metrics {
 public:
  // `models`: the names of those that are served.
  explicit Metrics(std::span<const std::string> models);
  ~Metrics();

  ModelMetrics& of(std::string_view model);  // one of those that are served
  void count_request(std::string_view route, int status, double seconds);

  // With the state of each model's engine.
  std::string text(std::span<const std::pair<std::string, engine::EngineStats>> engines,
                   const net::HttpServerStats& server,
                   const trace::ExportCounts& traces,
                   const PlacementStats* placement = nullptr);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace edgewise::api
