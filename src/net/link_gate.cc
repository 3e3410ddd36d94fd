#include "net/link_gate.h"

#include <boost/asio/error.hpp>

#include "base/seconds.h"

namespace edgewise::net {
namespace {

constexpr auto kWindow = std::chrono::seconds(1);

}  // namespace

LinkGate::LinkGate(boost::asio::io_context& io,
                   double bytes_per_s,
                   bool is_tls,
                   std::function<void(double)> on_need)
    : pacer_(bytes_per_s, Clock::now()),
      bytes_per_s_(bytes_per_s),
      is_tls_(is_tls),
      on_need_(std::move(on_need)),
      timer_(io),
      window_(Clock::now()) {}

void LinkGate::wait(LinkPlace& place, std::size_t bytes) {
  if (is_stopped_) {
    return;
  }
  pacer_.wait(place, static_cast<std::int64_t>(bytes), Clock::now());
  serve();
}

void LinkGate::leave(LinkPlace& place) {
  pacer_.leave(place);
  serve();
}

void LinkGate::sent(LinkPlace& place, std::size_t bytes, std::size_t rest) {
  const auto now = Clock::now();
  const auto payload = static_cast<std::int64_t>(bytes);
  const std::int64_t wire = wire_bytes(payload, is_tls_);
  pacer_.sent(place, payload, static_cast<std::int64_t>(rest), is_tls_, now);
  bytes_total_ += wire;
  payload_total_ += payload;
  window_bytes_ += static_cast<double>(wire);
  measure(now);
  serve();
}

void LinkGate::measure(Clock::time_point now) {
  if (now - window_ >= kWindow) {
    const double seconds = seconds_between(window_, now);
    share_ = window_bytes_ / seconds / bytes_per_s_;
    share_time_ = now.time_since_epoch().count();
    window_ = now;
    window_bytes_ = 0.0;
  }
}

void LinkGate::end_reply(const LinkPlace& place) {
  const auto& deadline = place.terms().deadline;
  late_total_ += deadline && Clock::now() > *deadline ? 1 : 0;
}

// Whoever gets a turn is only woken, and takes it later.
void LinkGate::serve() {
  auto now = Clock::now();
  while (LinkPacer::Flow* flow = is_stopped_ ? nullptr : pacer_.next(now)) {
    static_cast<LinkPlace*>(flow)->wake();
  }
  waiting_bytes_ = pacer_.waiting_bytes();
  if (on_need_) {
    on_need_(pacer_.needed_bytes_per_s(now));
  }
  const auto ready = is_stopped_ ? std::nullopt : pacer_.ready_at(now);
  if (!ready || is_timed_) {
    return;  // a timer that runs ends no later than the next turn may come: the bucket only fills
  }
  is_timed_ = true;
  timer_.expires_at(*ready);
  timer_.async_wait([this](boost::system::error_code ec) {
    is_timed_ = false;
    if (ec != boost::asio::error::operation_aborted) {
      serve();
    }
  });
}

void LinkGate::stop() {
  is_stopped_ = true;
  timer_.cancel();
}

LinkStats LinkGate::stats() const {
  const auto age = Clock::now().time_since_epoch().count() - share_time_;
  return {.bytes_per_s = bytes_per_s_,
          .bytes_total = bytes_total_,
          .payload_total = payload_total_,
          .late_total = late_total_,
          .waiting_bytes = waiting_bytes_,
          .share_in_use = Clock::duration(age) < 3 * kWindow ? share_.load() : 0.0};
}

}  // namespace edgewise::net
