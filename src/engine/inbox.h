// What other threads ask of the engine thread, and what they may know about it: the only state they
// share. Any thread. The engine thread sleeps here while there is nothing to do.
#pragma once

#include <memory>
#include <optional>
#include <vector>

#include "admission/forecast.h"
#include "base/mutex.h"
#include "engine/sequence.h"

namespace edgewise::engine {

class Inbox {
 public:
  // `limit`: requests accepted and not yet finished. `keeps_load`: it is told all the time, else to who asks.
  explicit Inbox(std::int64_t limit, bool keeps_load = false)
      : limit_(limit), keeps_load_(keeps_load) {}

  // Fails when full, and says when there may be a place, or when stopped.
  Result<RequestId> submit(std::unique_ptr<Sequence> sequence);
  void cancel(RequestId id);
  void stop();
  EngineStats stats() const;
  void wake();  // the engine thread, if it waits
  // As it was told last, with what has come since. Nothing: not told yet; whoever asks again in a moment gets it.
  std::optional<admission::Load> load();

  // Engine thread. Waits for something to do when `idle`, until `latest` at most.
  struct Mail {
    std::vector<std::unique_ptr<Sequence>> sequences;  // ascending id
    std::vector<RequestId> cancelled;
    bool stop = false;
  };

  Mail take(bool idle, Clock::time_point latest = Clock::time_point::max());
  // `unfinished`: sequences that were taken and have not finished; `next_end`: when the first of them is expected to.
  void report(const EngineStats& stats,
              std::int64_t unfinished,
              std::optional<Clock::time_point> next_end = std::nullopt);
  bool wants_load() const;
  void report_load(admission::Load load);  // with all sequences that were taken

 private:
  const std::int64_t limit_;
  const bool keeps_load_;
  mutable Mutex mutex_;
  Condition arrived_;
  std::vector<std::unique_ptr<Sequence>> sequences_ EDGEWISE_GUARDED_BY(mutex_);
  std::vector<RequestId> cancelled_ EDGEWISE_GUARDED_BY(mutex_);
  RequestId last_id_ EDGEWISE_GUARDED_BY(mutex_) = 0;
  std::int64_t taken_ EDGEWISE_GUARDED_BY(mutex_) =
      0;  // unfinished ones that the engine thread has
  std::int64_t refused_ EDGEWISE_GUARDED_BY(mutex_) = 0;  // because of the limit
  std::optional<Clock::time_point> next_end_ EDGEWISE_GUARDED_BY(mutex_);
  bool woken_ EDGEWISE_GUARDED_BY(mutex_) = false;
  bool stop_ EDGEWISE_GUARDED_BY(mutex_) = false;
  EngineStats stats_ EDGEWISE_GUARDED_BY(mutex_);
  std::optional<admission::Load> load_ EDGEWISE_GUARDED_BY(mutex_);
  Clock::time_point load_wanted_until_ EDGEWISE_GUARDED_BY(mutex_);
};

}  // namespace edgewise::engine
