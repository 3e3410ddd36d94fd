// Everything that GET /metrics shows, in Prometheus' text format. Any thread.
//
// What others measure too has their names beside ours, so that existing dashboards work:
// gen_ai_server_... (OpenTelemetry's semantic conventions for generative AI) and vllm:...
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "engine/engine.h"
#include "net/http_server.h"
#include "trace/exporter.h"

namespace edgewise::api {

class Metrics {
 public:
  explicit Metrics(const std::string& model);
  ~Metrics();

  void count_request(std::string_view route, int status, double seconds);
  void observe_first_token(double seconds);  // since the request arrived
  void observe_next_token(double seconds);   // since the one before, of the same choice
  void count_usage(const engine::Usage& usage);
  void count_finish(std::string_view reason, double seconds);  // of one choice, since it arrived
  void count_refusal(std::string_view reason);                 // by a limit of its key

  std::string text(const engine::EngineStats& engine,
                   const net::HttpServerStats& server,
                   const trace::ExportCounts& traces);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace edgewise::api
