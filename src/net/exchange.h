// The hand-over of one reply from the thread that produces it to the I/O thread that sends it.
//
// The producing side (any thread) sends a whole reply, or begins, writes and ends a stream; the
// connection (I/O thread) is woken by `notify`, takes what is there and tells when the client is
// gone. The queue is bounded: a client that reads slower than the stream is written loses its
// connection instead of our memory.
#pragma once

#include <chrono>
#include <cstddef>
#include <functional>
#include <optional>
#include <string>
#include <string_view>

#include "base/mutex.h"
#include "net/http_message.h"
#include "net/link_pacer.h"

namespace edgewise::net {

class Exchange {
 public:
  using Clock = std::chrono::steady_clock;

  // `notify` is called with a lock held and must do no more than wake the connection.
  // `is_paced`: the connection takes turns on a link with others, so a stream may find it worth while to hold back
  // what can be merged (offer()).
  Exchange(std::function<void()> notify, std::size_t max_queued_bytes, bool is_paced = false)
      : max_queued_bytes_(max_queued_bytes), is_paced_(is_paced), notify_(std::move(notify)) {}

  // Producer. false: the client is gone or the reply is over, there is no point in going on.
  bool send(Response response);
  bool begin(Response head);  // head.body is ignored
  bool write(std::string_view bytes);
  void end();

  bool is_paced() const { return is_paced_; }

  // What the reply asks of the link; without, nothing in particular.
  void set_terms(LinkTerms terms);
  // Asked on the I/O thread, when the stream's turn has come, for what was offered. Called without a lock. Set before the
  // first offer().
  void set_source(std::function<std::string()> source);
  // The source has some `bytes` more, to come after what was written. What it gives may be less.
  bool offer(std::size_t bytes);
  // Cuts the connection so that the client sees that a stream is incomplete.
  void abort();
  // The last handle went away: a reply that was never given becomes a 500, an open stream is cut.
  void abandon();
  // Called once, on the I/O thread (or at once, here, when it is already so). Not after the end of
  // the reply.
  void on_disconnect(std::function<void()> callback);
  // Called on the I/O thread at `when` unless the reply is over by then. One per exchange.
  void call_at(Clock::time_point when, std::function<void()> callback);
  // Called once, on the I/O thread: the last byte was given to the connection's socket, or the client is gone. `waited`: for
  // turns on the link, in all.
  void on_sent(std::function<void(Clock::duration waited)> callback);
  bool is_open() const;

  // Connection.
  struct Output {
    std::optional<Response> head;  // with the body when whole
    bool whole = false;
    std::string bytes;      // of a stream
    bool finished = false;  // nothing comes after this
    bool cut = false;       // drop the connection
  };

  Output take();
  bool has_output() const;            // take() would give something
  std::size_t waiting_bytes() const;  // about as many bytes
  std::optional<LinkTerms> take_terms();
  void begin_wait();  // for a turn on the link
  void end_wait();
  bool is_cut() const;
  std::optional<Clock::time_point> next_call() const;
  void run_call();    // the callback of call_at
  void disconnect();  // the client is gone: tells the producer
  void close();       // the reply was sent: no callbacks from here on

 private:
  enum class Phase { kWaiting, kStreaming, kEnded };

  void wake() EDGEWISE_REQUIRES(mutex_) {
    if (notify_) {
      notify_();
    }
  }

  bool has_room(std::size_t bytes) EDGEWISE_REQUIRES(mutex_);
  Clock::duration waited() const EDGEWISE_REQUIRES(mutex_);

  const std::size_t max_queued_bytes_;
  const bool is_paced_;
  mutable Mutex mutex_;
  std::function<void()> notify_ EDGEWISE_GUARDED_BY(mutex_);
  Phase phase_ EDGEWISE_GUARDED_BY(mutex_) = Phase::kWaiting;
  bool open_ EDGEWISE_GUARDED_BY(mutex_) = true;  // false: client gone, cut or all sent
  bool cut_ EDGEWISE_GUARDED_BY(mutex_) = false;
  std::optional<Response> head_ EDGEWISE_GUARDED_BY(mutex_);
  bool whole_ EDGEWISE_GUARDED_BY(mutex_) = false;
  std::string queue_ EDGEWISE_GUARDED_BY(mutex_);
  std::size_t offered_bytes_ EDGEWISE_GUARDED_BY(mutex_) = 0;
  std::function<std::string()> source_ EDGEWISE_GUARDED_BY(mutex_);
  std::optional<LinkTerms> terms_ EDGEWISE_GUARDED_BY(mutex_);
  std::function<void()> on_disconnect_ EDGEWISE_GUARDED_BY(mutex_);
  std::optional<Clock::time_point> call_time_ EDGEWISE_GUARDED_BY(mutex_);
  std::function<void()> call_ EDGEWISE_GUARDED_BY(mutex_);
  std::function<void(Clock::duration)> on_sent_ EDGEWISE_GUARDED_BY(mutex_);
  std::optional<Clock::time_point> wait_begun_ EDGEWISE_GUARDED_BY(mutex_);
  Clock::duration waited_ EDGEWISE_GUARDED_BY(mutex_){};
};

}  // namespace edgewise::net
