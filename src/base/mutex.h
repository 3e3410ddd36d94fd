// A mutex whose use clang checks at compile time (-Wthread-safety, whenever clang compiles: preset asan): a
// member marked EDGEWISE_GUARDED_BY(mutex_) can only be touched where the mutex is held. With other
// compilers the marks are nothing. Conditions are waited for in a loop (`while (!ready)
// changed_.wait(lock);`): the analysis does not follow a lambda.
#pragma once

#include <chrono>
#include <condition_variable>
#include <mutex>

#if defined(__clang__)
#define EDGEWISE_THREAD_ANNOTATION(x) __attribute__((x))
#else
#define EDGEWISE_THREAD_ANNOTATION(x)
#endif
#define EDGEWISE_GUARDED_BY(mutex) EDGEWISE_THREAD_ANNOTATION(guarded_by(mutex))
#define EDGEWISE_REQUIRES(mutex) EDGEWISE_THREAD_ANNOTATION(requires_capability(mutex))

namespace edgewise {

class EDGEWISE_THREAD_ANNOTATION(capability("mutex")) Mutex {
 public:
  Mutex() = default;
  Mutex(const Mutex&) = delete;
  Mutex& operator=(const Mutex&) = delete;

 private:
  friend class MutexLock;
  std::mutex mutex_;
};

// Holds a mutex while it lives, or until unlock().
class EDGEWISE_THREAD_ANNOTATION(scoped_lockable) MutexLock {
 public:
  explicit MutexLock(Mutex& mutex) EDGEWISE_THREAD_ANNOTATION(acquire_capability(mutex))
      : lock_(mutex.mutex_) {}

  ~MutexLock() EDGEWISE_THREAD_ANNOTATION(release_capability()) = default;
  MutexLock(const MutexLock&) = delete;
  MutexLock& operator=(const MutexLock&) = delete;

  void lock() EDGEWISE_THREAD_ANNOTATION(acquire_capability()) { lock_.lock(); }

  void unlock() EDGEWISE_THREAD_ANNOTATION(release_capability()) { lock_.unlock(); }

 private:
  friend class Condition;
  std::unique_lock<std::mutex> lock_;
};

class Condition {
 public:
  // May return without a reason, as std::condition_variable.
  void wait(MutexLock& lock) { changed_.wait(lock.lock_); }

  // False: `deadline` has passed.
  bool wait_until(MutexLock& lock, std::chrono::steady_clock::time_point deadline) {
    return changed_.wait_until(lock.lock_, deadline) == std::cv_status::no_timeout;
  }

  void notify_one() { changed_.notify_one(); }

  void notify_all() { changed_.notify_all(); }

 private:
  std::condition_variable changed_;
};

}  // namespace edgewise
