// Runs select() beside the engine: takes a snapshot, has the result ready some milliseconds later.
// The engine thread is the only user; the thread sleeps while there is nothing to select.
#pragma once

#include <optional>
#include <thread>

#include "admission/selection.h"
#include "base/mutex.h"

namespace edgewise::admission {

class SelectionThread {
 public:
  // The search stops after `budget_seconds` with the best that it has.
  explicit SelectionThread(double budget_seconds);
  ~SelectionThread();

  bool busy() const;                // posted, and not yet taken
  void post(Snapshot snapshot);     // requires !busy()
  std::optional<Selection> take();  // nothing: not yet
  Selection wait();                 // requires busy(); takes as long as the search still does

 private:
  void run();

  const double budget_seconds_;
  mutable Mutex mutex_;
  Condition posted_;
  Condition selected_;
  std::optional<Snapshot> snapshot_ EDGEWISE_GUARDED_BY(mutex_);
  std::optional<Selection> selection_ EDGEWISE_GUARDED_BY(mutex_);
  bool busy_ EDGEWISE_GUARDED_BY(mutex_) = false;
  bool stop_ EDGEWISE_GUARDED_BY(mutex_) = false;
  std::thread thread_;
};

// select(), measured and stopped after `budget_seconds`.
Selection select_within(const Snapshot& snapshot, double budget_seconds);

}  // namespace edgewise::admission
