#include "api/metrics.h"

#include <prometheus/text_serializer.h>

#include <map>

#include "api/shown_metrics.h"
#include "base/check.h"
#include "base/mutex.h"
#include "platform/cpu.h"

namespace edgewise::api {
namespace {

using prometheus::BuildCounter;
using prometheus::BuildHistogram;
using prometheus::Histogram;

}  // namespace

struct Metrics::State {
  void set(const char* name, const char* help, double value) {
    show_gauge(registry, name, help, value);
  }

  void total(const char* name,
             const char* help,
             std::int64_t value,
             const prometheus::Labels& labels = {}) {
    show_total(registry, name, help, static_cast<double>(value), labels);
  }

  void show_traces(const trace::ExportCounts& traces);
  void show_link(const net::LinkStats& link);
  void show_placement(const PlacementStats& placement);

  Mutex showing;  // by one thread at a time
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
  std::map<std::string, ModelMetrics, std::less<>> models;
};

Metrics::Metrics(std::span<const std::string> models) : state_(std::make_unique<State>()) {
  for (const std::string& model : models) {
    state_->models.try_emplace(model, state_->registry, model);
  }
}

Metrics::~Metrics() = default;

ModelMetrics& Metrics::of(std::string_view model) {
  const auto found = state_->models.find(model);
  CHECK(found != state_->models.end(), "\"{}\" is not served", model);
  return found->second;
}

void Metrics::count_request(std::string_view route, int status, double seconds) {
  const std::string name(route.empty() ? "other" : route);
  state_->requests.Add({{"route", name}, {"status", std::to_string(status)}}).Increment();
  state_->durations.Add({{"route", name}}, kDuration).Observe(seconds);
}

void Metrics::State::show_traces(const trace::ExportCounts& traces) {
  const auto lost = [&](const char* reason, std::int64_t value) {
    total("edgewise_trace_spans_lost_total", "Spans that never reached the collector, by reason",
          value, {{"reason", reason}});
  };
  total("edgewise_trace_spans_sent_total", "Spans that the collector took", traces.sent);
  lost("queue_full", traces.lost_queue_full);
  lost("unreachable", traces.lost_unreachable);
  lost("refused", traces.lost_refused);
}

void Metrics::State::show_link(const net::LinkStats& link) {
  set("edgewise_link_bytes_per_second", "What may be sent to all clients; 0: not limited",
      link.bytes_per_s);
  if (link.bytes_per_s <= 0.0) {
    return;
  }
  total("edgewise_link_bytes_total", "Sent to clients, with headers of TLS, TCP and IP",
        link.bytes_total);
  total("edgewise_link_payload_bytes_total", "... without them", link.payload_total);
  total("edgewise_link_late_replies_total", "Replies whose last byte was sent after the deadline",
        link.late_total);
  set("edgewise_link_waiting_bytes", "Made and not sent yet", link.waiting_bytes);
  set("edgewise_link_share_in_use", "Of the link, in the last second", link.share_in_use);
}

void Metrics::State::show_placement(const PlacementStats& placement) {
  for (const PlacementStats::Node& node : placement.nodes) {
    const prometheus::Labels labels = {{"node", node.url}};
    show_gauge(registry, "edgewise_node_up", "Whether the other server answers, 0 or 1",
               node.is_up ? 1.0 : 0.0, labels);
    show_gauge(registry, "edgewise_node_running", "Requests that it is answering for this one",
               static_cast<double>(node.running), labels);
    total("edgewise_node_forwarded_total", "Requests given to it", node.forwarded_total, labels);
    total("edgewise_node_returned_total",
          "... that it gave back, refusing or vanishing, before any of the answer was there",
          node.returned_total, labels);
    total("edgewise_node_lost_total", "... whose answer was cut in the middle", node.lost_total,
          labels);
  }
  set("edgewise_placement_waiting", "Requests that wait for any of the servers to have time",
      static_cast<double>(placement.waiting));
  total("edgewise_placement_here_total", "Requests that this server took, where others could have",
        placement.here_total);
  total("edgewise_assignments_total", "Assignments of waiting requests to servers",
        placement.assignments_total);
  show_total(registry, "edgewise_assignment_seconds_total", "Seconds that assignments took",
             placement.assignment_seconds_total);
  show_total(
      registry, "edgewise_assignment_gap_total",
      "What assignments may have missed: their upper bounds over their values, less 1, summed",
      placement.assignment_gap_total);
}

std::string Metrics::text(std::span<const std::pair<std::string, engine::EngineStats>> engines,
                          const net::HttpServerStats& server,
                          const trace::ExportCounts& traces,
                          const PlacementStats* placement) {
  State& s = *state_;
  const MutexLock lock(s.showing);
  s.set("edgewise_http_connections", "Open connections", server.connections);
  s.set("edgewise_http_active_requests", "Requests being answered", server.active_requests);
  s.set("edgewise_http_refused_connections", "Connections refused since start: too many at once",
        static_cast<double>(server.refused_connections_total));
  for (const auto& [model, engine] : engines) {
    of(model).show(engine);
  }
  s.show_traces(traces);
  s.show_link(server.link);
  if (placement != nullptr) {
    s.show_placement(*placement);
  }
  s.set("process_resident_memory_bytes", "Resident memory",
        static_cast<double>(platform::resident_bytes()));
  return prometheus::TextSerializer().Serialize(s.registry.Collect());
}

}  // namespace edgewise::api
