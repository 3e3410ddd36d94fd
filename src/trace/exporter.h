// Sends spans to a collector over HTTP (OTLP, opentelemetry.io/docs/specs/otlp), from a thread of its
// own, in batches. Whoever hands spans in never waits: what does not fit the queue, or what the
// collector does not take, is lost and counted. Any thread.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "base/result.h"
#include "net/http_message.h"
#include "trace/otlp.h"

namespace edgewise::trace {

struct ExporterOptions {
  std::string url;                   // http:// or https://, the whole address
  std::vector<net::Header> headers;  // sent along, a collector's key for example; never logged
  Resource resource;
  std::size_t max_queued = 4096;  // spans
  std::size_t max_batch = 512;
  std::chrono::milliseconds delay{1000};       // most time that a span waits for others
  std::chrono::milliseconds timeout{10'000};   // of one batch, whatever the collector does
  std::chrono::milliseconds last_words{2000};  // for what is left at the end
};

struct ExportCounts {  // spans since start
  std::int64_t sent = 0;
  std::int64_t lost_queue_full = 0;
  std::int64_t lost_unreachable = 0;  // no connection, no answer in time
  std::int64_t lost_refused = 0;      // the collector answered that it does not take them
};

class Exporter {
 public:
  // Fails when the address is none. Nothing is sent before the first span.
  static Result<std::shared_ptr<Exporter>> create(ExporterOptions options);
  ~Exporter();  // sends what is left, within `last_words`

  // All of them or none.
  void add(std::vector<Span> spans);

  ExportCounts counts() const;

 private:
  explicit Exporter(ExporterOptions options);
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace edgewise::trace
