#include "api/metrics.h"

#include <prometheus/counter.h>
#include <prometheus/gauge.h>
#include <prometheus/histogram.h>
#include <prometheus/registry.h>
#include <prometheus/text_serializer.h>

#include "platform/cpu.h"

namespace edgewise::api {
namespace {

using prometheus::BuildCounter;
using prometheus::BuildGauge;
using prometheus::BuildHistogram;
using prometheus::Histogram;

// Seconds. First tokens range from a cached prompt (10 ms) to a long one on a slow machine
// (minutes).
const Histogram::BucketBoundaries kFirstToken = {0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1,
                                                 2.5,  5,     10,   30,  60,   120};
const Histogram::BucketBoundaries kNextToken = {0.002, 0.005, 0.01, 0.02, 0.035, 0.05, 0.075,
                                                0.1,   0.15,  0.25, 0.5,  1,     2.5};
const Histogram::BucketBoundaries kDuration = {0.005, 0.025, 0.1, 0.5, 1,   2.5,
                                               5,     10,    30,  60,  120, 300};
const Histogram::BucketBoundaries kQueue = {0.001, 0.005, 0.025, 0.1, 0.5, 1, 5, 15, 60};

}  // namespace

struct Metrics::State {
  prometheus::Registry registry;
  prometheus::Family<prometheus::Counter>& requests = BuildCounter()
                                                          .Name("edgewise_http_requests_total")
                                                          .Help("Requests by route and HTTP status")
                                                          .Register(registry);
  prometheus::Family<Histogram>& durations =
      BuildHistogram()
          .Name("edgewise_http_request_duration_seconds")
          .Help("From a request's headers to the end of its reply")
          .Register(registry);
  Histogram& first_token = histogram("edgewise_time_to_first_token_seconds",
                                     "From a request's headers to its first token",
                                     kFirstToken);
  Histogram& next_token =
      histogram("edgewise_inter_token_seconds", "Between two tokens of one answer", kNextToken);
  Histogram& queue =
      histogram("edgewise_queue_seconds", "Waiting before the first step of a request", kQueue);
  prometheus::Family<prometheus::Counter>& tokens = BuildCounter()
                                                        .Name("edgewise_tokens_total")
                                                        .Help("Tokens of finished requests")
                                                        .Register(registry);
  prometheus::Counter& prompt_tokens = tokens.Add({{"kind", "prompt"}});
  prometheus::Counter& cached_tokens = tokens.Add({{"kind", "prompt_cached"}});
  prometheus::Counter& completion_tokens = tokens.Add({{"kind", "completion"}});
  prometheus::Counter& prefill_seconds =
      seconds("edgewise_prefill_seconds_total", "Computing prompts, summed over requests");
  prometheus::Counter& decode_seconds =
      seconds("edgewise_decode_seconds_total", "Generating, summed over requests");

  Histogram& histogram(const char* name,
                       const char* help,
                       const Histogram::BucketBoundaries& bounds) {
    return BuildHistogram().Name(name).Help(help).Register(registry).Add({}, bounds);
  }

  prometheus::Counter& seconds(const char* name, const char* help) {
    return BuildCounter().Name(name).Help(help).Register(registry).Add({});
  }

  void set(const char* name, const char* help, double value) {
    BuildGauge().Name(name).Help(help).Register(registry).Add({}).Set(value);
  }
};

Metrics::Metrics(const std::string& model) : state_(std::make_unique<State>()) {
  BuildGauge()
      .Name("edgewise_info")
      .Help("What is served")
      .Register(state_->registry)
      .Add({{"model", model}})
      .Set(1);
}

Metrics::~Metrics() = default;

void Metrics::count_request(std::string_view route, int status, double seconds) {
  const std::string name(route.empty() ? "other" : route);
  state_->requests.Add({{"route", name}, {"status", std::to_string(status)}}).Increment();
  state_->durations.Add({{"route", name}}, kDuration).Observe(seconds);
}

void Metrics::observe_first_token(double seconds) {
  state_->first_token.Observe(seconds);
}

void Metrics::observe_next_token(double seconds) {
  state_->next_token.Observe(seconds);
}

void Metrics::count_usage(const engine::Usage& usage) {
  state_->prompt_tokens.Increment(static_cast<double>(usage.prompt_tokens));
  state_->cached_tokens.Increment(static_cast<double>(usage.cached_tokens));
  state_->completion_tokens.Increment(static_cast<double>(usage.completion_tokens));
  state_->queue.Observe(usage.queue_seconds);
  state_->prefill_seconds.Increment(usage.prefill_seconds);
  state_->decode_seconds.Increment(usage.decode_seconds);
}

std::string Metrics::text(const engine::EngineStats& engine, const net::HttpServerStats& server) {
  State& s = *state_;
  s.set("edgewise_http_connections", "Open connections", server.connections);
  s.set("edgewise_http_active_requests", "Requests being answered", server.active_requests);
  s.set("edgewise_http_refused_connections", "Connections refused since start: too many at once",
        static_cast<double>(server.refused_connections_total));
  s.set("edgewise_sequences_running", "Sequences being computed",
        static_cast<double>(engine.running));
  s.set("edgewise_sequences_waiting", "Sequences in the queue",
        static_cast<double>(engine.waiting));
  s.set("edgewise_kv_blocks_used", "Blocks of the key/value cache in use",
        static_cast<double>(engine.kv_blocks_used));
  s.set("edgewise_kv_blocks", "Blocks of the key/value cache",
        static_cast<double>(engine.kv_blocks_total));
  s.set("edgewise_engine_steps", "Forward passes since start",
        static_cast<double>(engine.steps_total));
  s.set("edgewise_engine_busy_seconds", "Time in forward passes since start", engine.busy_seconds);
  s.set("edgewise_engine_sequences", "Sequences taken since start",
        static_cast<double>(engine.requests_total));
  s.set("process_resident_memory_bytes", "Resident memory",
        static_cast<double>(platform::resident_bytes()));
  return prometheus::TextSerializer().Serialize(s.registry.Collect());
}

}  // namespace edgewise::api
