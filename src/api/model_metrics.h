// What is measured of one model, under its name: label `model` of our own names, `model_name` of
// vLLM's, `gen_ai_request_model` of OpenTelemetry's. Any thread.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "engine/engine.h"

namespace prometheus {
class Registry;
}

namespace edgewise::api {

class ModelMetrics {
 public:
  ModelMetrics(prometheus::Registry& registry, const std::string& model);
  ~ModelMetrics();

  void observe_first_token(double seconds);  // since the request arrived
  void observe_next_token(double seconds);   // since the one before, of the same choice
  void count_usage(const engine::Usage& usage);
  void count_finish(std::string_view reason, double seconds);  // of one choice, since it arrived
  void count_merged(std::int64_t tokens);  // told in one event with the one before, for the link
  void count_refusal(std::string_view reason);  // by a limit of its key

  void show(const engine::EngineStats& engine);  // one thread at a time

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace edgewise::api
