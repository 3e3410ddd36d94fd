// Carries pages between the engine thread and the disk, so that the engine never waits for it. Two
// threads: reading, which somebody waits for, must not stand behind writing, which runs at idle
// priority. The engine thread is the only user. When the disk does not take a page, one line in the
// log says so, and writing pauses.
#pragma once

#include <chrono>
#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <thread>
#include <vector>

#include "base/ids.h"
#include "base/mutex.h"
#include "cache/page_store.h"

namespace edgewise::reuse {

class PageTraffic {
 public:
  using Clock = std::chrono::steady_clock;

  // `model`: of model_key(). `on_change` is called, from either thread, when something was found or
  // there is room again.
  PageTraffic(std::unique_ptr<cache::PageStore> store,
              const cache::PageKey& model,
              std::function<void()> on_change);
  ~PageTraffic();  // what was offered is still written, if that takes less than two seconds

  const cache::PageKey& model() const { return model_; }

  struct Wanted {
    RequestId id = 0;
    std::vector<cache::PageKey>
        keys;                   // in order; the answer ends before the first that is not there
    std::int64_t depth = 0;     // of the first, in blocks
    double most_seconds = 0.0;  // that reading one may take
  };

  struct Found {
    RequestId id = 0;
    std::int64_t depth = 0;  // of the first
    std::vector<cache::Page> pages;
  };

  void want(Wanted wanted);
  // One for each want(), in order, but for those that were forgotten in time.
  std::vector<Found> take_found();
  void forget(RequestId id);  // what it wants is not read any more; unknown ids are ignored

  // A page to write, or, without bytes, to count as used.
  struct Offer {
    cache::PageKey key{};
    std::int64_t depth = 0;
    std::vector<std::byte> bytes;
  };

  bool has_room() const;
  void offer(Offer offer);  // after has_room() said so
  // False: there is no room by then.
  bool wait_for_room(Clock::time_point deadline);

  cache::PageStoreStats stats() const { return store_->stats(); }

 private:
  void read();
  void write();
  void write(const Offer& offer);
  bool room() const EDGEWISE_REQUIRES(mutex_);

  const std::unique_ptr<cache::PageStore> store_;
  const cache::PageKey model_;
  const std::function<void()> on_change_;
  bool has_failed_ = false;  // the writing thread's

  mutable Mutex mutex_;
  Condition changed_;
  std::deque<Wanted> wanted_ EDGEWISE_GUARDED_BY(mutex_);
  std::vector<Found> found_ EDGEWISE_GUARDED_BY(mutex_);
  std::deque<Offer> offers_ EDGEWISE_GUARDED_BY(mutex_);
  Clock::time_point paused_until_ EDGEWISE_GUARDED_BY(mutex_);
  std::optional<Clock::time_point> end_ EDGEWISE_GUARDED_BY(mutex_);  // of writing
  std::thread reader_;
  std::thread writer_;
};

}  // namespace edgewise::reuse
