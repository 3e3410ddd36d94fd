#include "admission/selection_thread.h"

#include <chrono>
#include <limits>
#include <utility>

#include "base/check.h"

namespace edgewise::admission {

Selection select_within(const Snapshot& snapshot, double budget_seconds) {
  using Clock = std::chrono::steady_clock;
  const auto elapsed = [begin = Clock::now()] {
    return std::chrono::duration<double>(Clock::now() - begin).count();
  };
  Selection selection = select(snapshot, std::numeric_limits<std::int64_t>::max(),
                               [&] { return elapsed() > budget_seconds; });
  selection.seconds = elapsed();
  return selection;
}

SelectionThread::SelectionThread(double budget_seconds)
    : budget_seconds_(budget_seconds), thread_([this] { run(); }) {}

SelectionThread::~SelectionThread() {
  {
    const MutexLock lock(mutex_);
    stop_ = true;
  }
  posted_.notify_one();
  thread_.join();
}

bool SelectionThread::busy() const {
  const MutexLock lock(mutex_);
  return busy_;
}

void SelectionThread::post(Snapshot snapshot) {
  {
    const MutexLock lock(mutex_);
    CHECK(!busy_, "a selection is being made already");
    busy_ = true;
    snapshot_ = std::move(snapshot);
  }
  posted_.notify_one();
}

std::optional<Selection> SelectionThread::take() {
  const MutexLock lock(mutex_);
  if (selection_.has_value()) {
    busy_ = false;
  }
  return std::exchange(selection_, std::nullopt);
}

Selection SelectionThread::wait() {
  MutexLock lock(mutex_);
  CHECK(busy_, "no selection is being made");
  while (!selection_.has_value()) {
    selected_.wait(lock);
  }
  busy_ = false;
  return *std::exchange(selection_, std::nullopt);
}

void SelectionThread::run() {
  while (true) {
    Snapshot snapshot;
    {
      MutexLock lock(mutex_);
      while (!stop_ && !snapshot_.has_value()) {
        posted_.wait(lock);
      }
      if (stop_) {
        return;
      }
      snapshot = std::move(*std::exchange(snapshot_, std::nullopt));
    }
    Selection selection = select_within(snapshot, budget_seconds_);
    {
      const MutexLock lock(mutex_);
      selection_ = std::move(selection);
    }
    selected_.notify_one();
  }
}

}  // namespace edgewise::admission
