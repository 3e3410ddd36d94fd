// One request's answers from start to last byte: starts its choices, turns what they produce into a
// reply or a stream, and frees all work at once when the client goes, the deadline passes or a
// choice fails.
//
// Called from handler, engine and I/O threads; owned by the sinks it gave away. The backend is
// never called with the lock held, so it may call sinks under locks of its own.
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <vector>

#include "api/backend.h"
#include "api/key_limits.h"
#include "api/reply.h"
#include "api/reply_format.h"
#include "api/reply_size.h"
#include "base/mutex.h"

namespace edgewise::api {

struct JobOptions {
  int choices = 1;             // in all
  int choices_per_prompt = 1;  // prompt tokens are counted once per prompt
  bool stream = false;
  bool stream_usage = false;
  std::int64_t moved_parts = 0;                       // for the usage
  std::optional<std::chrono::milliseconds> deadline;  // since the request arrived
  net::LinkTerms link;                                // what the reply asks of the link
  ReplyKind kind;                                     // for `sizes`
  std::shared_ptr<ReplySizes> sizes;  // learn from what is sent; null: there is no limit
  KeyLimits::Ticket ticket;           // kept until the reply, or until all work has stopped
};

// Of a stream's event that tells nothing.
double event_bytes(ReplyFormat& format);

class GenerationJob : public std::enable_shared_from_this<GenerationJob> {
 public:
  // Starts one choice; the sink is the job's.
  using Starter = std::function<Result<RequestId>(int choice, chat::Sink sink)>;

  // Starts all choices and returns; the job lives until the last one is done.
  static void run(std::shared_ptr<Backend> backend,
                  Reply reply,
                  std::unique_ptr<ReplyFormat> format,
                  JobOptions options,
                  const Starter& start);

 private:
  using Clock = std::chrono::steady_clock;

  struct Choice {
    FoldedChoice folded;
    bool is_open = false;  // its opening was written
    std::optional<Clock::time_point> last_token;
    engine::Usage usage;
    // Of a stream on a paced link: what came since its last turn, to be told in one event.
    FoldedChoice held;
    std::int64_t held_deltas = 0;
    double told_bytes = 0.0;  // of its tokens, without the events around them
  };

  GenerationJob(std::shared_ptr<Backend> backend,
                Reply reply,
                std::unique_ptr<ReplyFormat> format,
                JobOptions options);
  void watch(const net::Responder& responder, Clock::time_point arrived);
  void start_all(const Starter& start);
  bool on_delta(int choice, const chat::Delta& delta);
  void on_done(int choice, const chat::Outcome& outcome);
  void fail(const ApiError& error);
  void client_gone();
  void cancel_all();
  std::string take_held();
  bool hold(Choice& choice, const chat::Delta& delta) EDGEWISE_REQUIRES(mutex_);
  std::string take_held(int index) EDGEWISE_REQUIRES(mutex_);
  std::string take_all_held() EDGEWISE_REQUIRES(mutex_);
  bool open_choice(int index) EDGEWISE_REQUIRES(mutex_);
  void observe_token(Choice& choice) EDGEWISE_REQUIRES(mutex_);
  void observe_sizes() EDGEWISE_REQUIRES(mutex_);
  void complete() EDGEWISE_REQUIRES(mutex_);
  UsageTotals totals() const EDGEWISE_REQUIRES(mutex_);

  const std::shared_ptr<Backend> backend_;
  const std::unique_ptr<ReplyFormat> format_;
  JobOptions options_;        // constant, but for the ticket, which complete() gives back
  const double event_bytes_;  // of an event that tells nothing; 0 where nobody wants to know
  mutable Mutex mutex_;
  Reply reply_ EDGEWISE_GUARDED_BY(mutex_);
  RequestTrace& trace_;                               // the reply's
  ModelMetrics& metrics_;                             // the model's
  bool stopped_ EDGEWISE_GUARDED_BY(mutex_) = false;  // nothing more is said
  int remaining_ EDGEWISE_GUARDED_BY(mutex_);
  std::vector<Choice> choices_ EDGEWISE_GUARDED_BY(mutex_);
  std::vector<RequestId> ids_ EDGEWISE_GUARDED_BY(mutex_);
};

}  // namespace edgewise::api
