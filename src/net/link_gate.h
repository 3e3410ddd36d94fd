// Gives the connections of one server their turns on a link that LinkPacer divides. Internal to net/ (it shows Asio).
// I/O thread only, but for stats().
#pragma once

#include <atomic>
#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>
#include <functional>
#include <memory>

#include "net/link_pacer.h"
#include "net/link_stats.h"

namespace edgewise::net {

// One connection's place. `wake` is called, from within the gate, when its turn has come.
struct LinkPlace : LinkPacer::Flow {
  std::function<void()> wake;
};

class LinkGate {
 public:
  using Clock = std::chrono::steady_clock;

  // `on_need`: see HttpServerOptions.
  LinkGate(boost::asio::io_context& io,
           double bytes_per_s,
           bool is_tls,
           std::function<void(double)> on_need);

  std::size_t piece() const { return static_cast<std::size_t>(pacer_.piece()); }

  void begin_reply(LinkPlace& place) { pacer_.begin_reply(place); }

  void set_terms(LinkPlace& place, LinkTerms terms) { pacer_.set_terms(place, std::move(terms)); }

  void end_reply(const LinkPlace& place);  // its last byte was written
  // Something is to be sent: `bytes`, as far as known. The turn may be there on return.
  void wait(LinkPlace& place, std::size_t bytes);
  void leave(LinkPlace& place);
  // Ends the turn; `rest` bytes more wait for the next one.
  void sent(LinkPlace& place, std::size_t bytes, std::size_t rest);
  void stop();  // no more turns

  LinkStats stats() const;  // any thread

 private:
  void serve();
  void measure(Clock::time_point now);

  LinkPacer pacer_;
  const double bytes_per_s_;
  const bool is_tls_;
  const std::function<void(double)> on_need_;
  boost::asio::steady_timer timer_;
  bool is_stopped_ = false;
  bool is_timed_ = false;
  Clock::time_point window_;  // of the share in use, begun
  double window_bytes_ = 0.0;
  std::atomic<std::int64_t> bytes_total_ = 0;
  std::atomic<std::int64_t> payload_total_ = 0;
  std::atomic<std::int64_t> late_total_ = 0;
  std::atomic<double> waiting_bytes_ = 0.0;
  std::atomic<double> share_ = 0.0;
  std::atomic<Clock::rep> share_time_ = 0;
};

}  // namespace edgewise::net
