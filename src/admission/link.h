// The link to those who receive answers, as the engines of one server see it: bytes a second that may be promised to
// answers with deadlines, and who needs how many of them. Nothing is sent through it. Any thread.
#pragma once

#include <atomic>
#include <map>

#include "base/mutex.h"

namespace edgewise::admission {

class Link {
 public:
  explicit Link(double bytes_per_s) : bytes_per_s_(bytes_per_s) {}

  double bytes_per_s() const { return bytes_per_s_; }

  // What answers need that are there, and wait to be sent: told by whoever sends them.
  void set_waiting_need(double bytes_per_s) { waiting_need_ = bytes_per_s; }

  // What is still to come of those that run in one engine; `engine` names it.
  void set_running_need(const void* engine, double bytes_per_s) {
    const MutexLock lock(mutex_);
    running_needs_[engine] = bytes_per_s;
  }

  // 0 to 1, that nobody needs.
  double free_share() const {
    const MutexLock lock(mutex_);
    double need = waiting_need_;
    for (const auto& [engine, running] : running_needs_) {
      need += running;
    }
    return need < bytes_per_s_ ? 1.0 - need / bytes_per_s_ : 0.0;
  }

 private:
  const double bytes_per_s_;
  std::atomic<double> waiting_need_ = 0.0;
  mutable Mutex mutex_;
  std::map<const void*, double> running_needs_ EDGEWISE_GUARDED_BY(mutex_);
};

}  // namespace edgewise::admission
