// One request's life as spans: the request itself, and what its answers waited, read and generated.
// Collected while it is served, handed to the exporter when the last of its work is over. Holds
// counts, times and codes, never what was asked or answered. Any thread.
#pragma once

#include <chrono>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "api/errors.h"
#include "base/mutex.h"
#include "engine/engine.h"
#include "net/http_message.h"
#include "trace/exporter.h"

namespace edgewise::api {

class RequestTrace {
 public:
  // `route`: only those of models are traced. `exporter` null: nothing is.
  RequestTrace(std::shared_ptr<trace::Exporter> exporter,
               std::string_view route,
               const net::Request& request);
  ~RequestTrace();  // hands it over

  RequestTrace(const RequestTrace&) = delete;
  RequestTrace& operator=(const RequestTrace&) = delete;

  void set_model(std::string_view id);
  // One answer (or embedding) is over. `finish`: OpenAI's finish_reason, or empty.
  // `counts_prompt`: not for further answers to the same prompt.
  void add_answer(const engine::Usage& usage, std::string_view finish, bool counts_prompt);
  void set_error(const ApiError& error);
  void end(int status);  // the reply is made; as /metrics counts it
  // Its last byte has gone out, or its client. `waited`: of the time since it arrived, for turns on the link.
  void set_sent(std::chrono::steady_clock::duration waited);

 private:
  using Clock = std::chrono::steady_clock;

  void add_phase(const char* name, std::size_t answer, Clock::time_point begin, double seconds)
      EDGEWISE_REQUIRES(mutex_);
  std::int64_t nanoseconds(Clock::time_point when) const;
  trace::Span whole() const EDGEWISE_REQUIRES(mutex_);

  std::shared_ptr<trace::Exporter> exporter_;  // null: not traced
  const std::string operation_;
  const std::string route_;
  const std::string request_id_;
  const Clock::time_point arrived_;
  const Clock::time_point steady_now_;  // the same moment as system_now_
  const std::chrono::system_clock::time_point system_now_;
  trace::Span root_;  // ids and parent

  Mutex mutex_;
  std::string model_ EDGEWISE_GUARDED_BY(mutex_);
  std::vector<trace::Span> phases_ EDGEWISE_GUARDED_BY(mutex_);
  std::vector<std::string> finishes_ EDGEWISE_GUARDED_BY(mutex_);
  std::size_t answers_ EDGEWISE_GUARDED_BY(mutex_) = 0;
  engine::Usage usage_ EDGEWISE_GUARDED_BY(mutex_);  // tokens, summed
  std::string error_ EDGEWISE_GUARDED_BY(mutex_);
  int status_ EDGEWISE_GUARDED_BY(mutex_) = 0;
  Clock::time_point end_ EDGEWISE_GUARDED_BY(mutex_);
  std::optional<std::chrono::milliseconds> link_wait_
      EDGEWISE_GUARDED_BY(mutex_);  // nothing: not sent over a limited link
};

}  // namespace edgewise::api
