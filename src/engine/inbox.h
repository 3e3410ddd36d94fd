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
  // `limit`: requests accepted and not yet finished.
  explicit Inbox(std::int64_t limit) : limit_(limit) {}

  // Fails when full, and says when there may be a place, or when stopped.
  Result<RequestId> submit(std::unique_ptr<Sequence> sequence);
  void cancel(RequestId id);
  void stop();
  EngineStats stats() const;
  void wake();  // the engine thread, if it waits
  // From the load that was told last and what has come since. Nothing: no load was ever told.
  std::optional<admission::Forecast> forecast(const admission::Prospect& prospect) const;

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
  void report_load(admission::Load load);  // with all sequences that were taken

 private:
  const std::int64_t limit_;
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
};

}  // namespace edgewise::engine
