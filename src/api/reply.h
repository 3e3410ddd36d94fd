// One HTTP reply being made, with its status counted exactly once. One thread at a time.
#pragma once

#include <chrono>
#include <string>
#include <string_view>

#include "api/errors.h"
#include "api/metrics.h"
#include "api/request_trace.h"
#include "net/router.h"

namespace edgewise::api {

class Reply {
 public:
  Reply(net::Responder responder,
        std::shared_ptr<Metrics> metrics,
        std::shared_ptr<RequestTrace> trace,
        std::string route,
        std::chrono::steady_clock::time_point arrived)
      : responder_(std::move(responder)),
        metrics_(std::move(metrics)),
        trace_(std::move(trace)),
        route_(std::move(route)),
        arrived_(arrived) {}

  void send(net::Response response);

  void send_json(std::string body) { send({.body = std::move(body)}); }

  void send_error(const ApiError& error);

  // Server-sent events (WHATWG HTML, 9.2), begun with the first one. false: the client is gone or
  // too slow.
  bool event(std::string_view json);
  static std::string event_text(std::string_view json);
  // Events that are made when the connection's turn on the link has come (net::Exchange), begun with the first.
  bool offer(std::size_t bytes);
  bool write_events(std::string_view text);  // made by event_text()
  void end_events();                         // with OpenAI's closing "[DONE]"
  void end_relayed_events();                 // ... which was in what was written
  void fail_events(const ApiError& error);   // within a stream, where the status is already sent

  bool has_events() const { return has_events_; }

  void count_gone();  // the client went away before the end

  const net::Responder& responder() const { return responder_; }

  std::chrono::steady_clock::time_point arrived() const { return arrived_; }

  double seconds() const;  // since the request arrived

  Metrics& metrics() { return *metrics_; }

  RequestTrace& trace() { return *trace_; }

 private:
  void count(int status);
  void begin_events();

  net::Responder responder_;
  std::shared_ptr<Metrics> metrics_;
  std::shared_ptr<RequestTrace> trace_;
  std::string route_;
  std::chrono::steady_clock::time_point arrived_;
  bool has_events_ = false;
  bool is_counted_ = false;
};

}  // namespace edgewise::api
