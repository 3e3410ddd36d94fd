// One loop = one generation number. The caller stores the body, opens the loop, works as worker 0, closes the loop to
// whoever has not come yet and waits for those that are inside. Both kinds of waiting spin first and then sleep.
//
// Who has not come is not waited for: its core may be taken by another program for milliseconds, and the others have
// done its share. A loop of a forward pass takes some 10 microseconds.
//
// Sleeping without lost wake-ups: the sleeper announces itself and then looks again; the waker
// changes the state and then looks for sleepers. With sequentially consistent operations at least
// one of them sees the other (Dekker's argument), and the waker passes through the mutex before it
// notifies.
#include "platform/worker_pool.h"

#include <pthread.h>
#include <signal.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <limits>
#include <mutex>
#include <optional>
#include <system_error>
#include <thread>
#include <vector>

#include "base/check.h"
#include "base/log.h"
#include "platform/loop_door.h"

namespace edgewise::platform {
namespace {

// Longer than the serial stretches between the loops of a forward pass, shorter than anyone would
// notice.
constexpr std::chrono::microseconds kSpinTime{50};
// How long a worker computes before it offers its core to others, between loops. Whoever waits for it there would else be
// let in by the scheduler a little later, in the middle of a piece, which all would wait for.
constexpr std::chrono::milliseconds kTurn{1};
constexpr std::size_t kCacheLine = 64;

void relax() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

// True as soon as `ready()` is; false after kSpinTime.
template <typename Ready>
bool spin_until(const Ready& ready) {
  constexpr int kPausesPerClockLook = 16;
  const auto give_up = std::chrono::steady_clock::now() + kSpinTime;
  do {
    for (int i = 0; i < kPausesPerClockLook; ++i) {
      if (ready()) {
        return true;
      }
      relax();
    }
  } while (std::chrono::steady_clock::now() < give_up);
  return false;
}

// A worker's time on its core.
class Turn {
 public:
  // Costs a look at the clock, or where nobody else wants the core, half a microsecond a turn.
  void end_if_long() {
    if (std::chrono::steady_clock::now() - begin_ >= kTurn) {
      std::this_thread::yield();
      begin_ = std::chrono::steady_clock::now();
    }
  }

 private:
  std::chrono::steady_clock::time_point begin_ = std::chrono::steady_clock::now();
};

// A place where threads wait for a condition on atomics that others change.
class WaitingRoom {
 public:
  template <typename Ready>
  void wait(const Ready& ready) {
    if (spin_until(ready)) {
      return;
    }
    std::unique_lock lock(mutex_);
    sleepers_.fetch_add(1, std::memory_order_seq_cst);
    changed_.wait(lock, ready);
    sleepers_.fetch_sub(1, std::memory_order_relaxed);
  }

  // To be called after the change, which must be sequentially consistent.
  void wake_all() {
    if (sleepers_.load(std::memory_order_seq_cst) > 0) {
      {
        const std::lock_guard lock(mutex_);
      }
      changed_.notify_all();
    }
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  std::atomic<int> sleepers_{0};
};

// Signals are for the program's main thread; workers inherit a mask that blocks all of them.
class BlockedSignals {
 public:
  BlockedSignals() {
    sigset_t all;
    sigfillset(&all);
    sigdelset(&all, SIGBUS);  // a fault of the thread's own: whoever handles it must hear of it
    pthread_sigmask(SIG_SETMASK, &all, &previous_);
  }

  ~BlockedSignals() { pthread_sigmask(SIG_SETMASK, &previous_, nullptr); }

  BlockedSignals(const BlockedSignals&) = delete;
  BlockedSignals& operator=(const BlockedSignals&) = delete;

 private:
  sigset_t previous_ = {};
};

// The pieces of a loop that one worker is to do, ascending. Who has finished its own helps the others from their
// far end, so that every worker reads its memory as one ascending stream: DRAM and prefetchers reward that by a
// third and more, compared with pieces dealt to the workers in turn.
class alignas(kCacheLine) PieceRange {
 public:
  void assign(std::int64_t begin, std::int64_t end) {
    bounds_.store(join(static_cast<std::uint32_t>(begin), static_cast<std::uint32_t>(end)),
                  std::memory_order_relaxed);
  }

  std::optional<std::uint32_t> take_first() {
    return take([](std::uint32_t& begin, std::uint32_t&) { return begin++; });
  }

  std::optional<std::uint32_t> take_last() {
    return take([](std::uint32_t&, std::uint32_t& end) { return --end; });
  }

 private:
  static std::uint64_t join(std::uint32_t begin, std::uint32_t end) {
    return std::uint64_t{begin} << 32U | end;
  }

  template <typename Choose>
  std::optional<std::uint32_t> take(Choose choose) {
    std::uint64_t seen = bounds_.load(std::memory_order_relaxed);
    for (;;) {
      auto begin = static_cast<std::uint32_t>(seen >> 32U);
      auto end = static_cast<std::uint32_t>(seen);
      if (begin == end) {
        return std::nullopt;
      }
      const std::uint32_t piece = choose(begin, end);
      if (bounds_.compare_exchange_weak(seen, join(begin, end), std::memory_order_relaxed)) {
        return piece;
      }
    }
  }

  std::atomic<std::uint64_t> bounds_{0};
};

}  // namespace

struct WorkerPool::State {
  using Body = FunctionRef<void(int)>;

  alignas(kCacheLine) LoopDoor door;
  const Body* body = nullptr;  // null in an open loop: end
  alignas(kCacheLine) std::atomic<bool> in_use{false};
  WaitingRoom for_work;
  WaitingRoom for_end;
  std::vector<PieceRange> ranges;    // one for each worker
  std::vector<std::thread> threads;  // workers 1 ..

  void start(const Body* next) {
    body = next;
    door.open_next();
    for_work.wake_all();
  }

  // Runs `next` as worker 0, and on each of the others or, without `all`, on those that come before worker 0 is done.
  void run(const Body& next, bool all) {
    CHECK(!in_use.exchange(true, std::memory_order_acquire), "the pool is already running a loop");
    start(&next);
    next(0);
    if (all) {
      for_end.wait([&] { return door.entered() == static_cast<int>(threads.size()); });
    }
    door.close();
    for_end.wait([&] { return door.inside() == 0; });
    in_use.store(false, std::memory_order_release);
  }

  void work(int worker) {
    Turn turn;
    for (std::uint32_t seen = 0;;) {
      for_work.wait([&] { return door.loop() != seen; });
      if (!door.enter(seen)) {
        continue;
      }
      if (body == nullptr) {
        return;
      }
      (*body)(worker);
      door.leave();
      for_end.wake_all();
      turn.end_if_long();
    }
  }
};

WorkerPool::WorkerPool(int threads) : state_(std::make_unique<State>()) {
  CHECK(threads >= 1, "a pool of {} threads", threads);
  const BlockedSignals blocked;
  for (int worker = 1; worker < threads; ++worker) {
    try {
      state_->threads.emplace_back([state = state_.get(), worker] { state->work(worker); });
    } catch (const std::system_error& error) {
      log(LogLevel::kWarning, "only {} of {} threads could be started: {}", worker, threads,
          error.what());
      break;
    }
    pthread_setname_np(state_->threads.back().native_handle(),
                       fmt::format("worker-{}", worker).c_str());
  }
  state_->ranges = std::vector<PieceRange>(state_->threads.size() + 1);
}

WorkerPool::~WorkerPool() {
  if (!state_->threads.empty()) {
    state_->start(nullptr);
    for (std::thread& thread : state_->threads) {
      thread.join();
    }
  }
}

int WorkerPool::size() const {
  return static_cast<int>(state_->threads.size()) + 1;
}

void WorkerPool::run(FunctionRef<void(int worker)> body) {
  if (state_->threads.empty()) {
    body(0);
    return;
  }
  state_->run(body, true);
}

void WorkerPool::parallel_for(
    std::int64_t count,
    std::int64_t grain,
    FunctionRef<void(std::int64_t begin, std::int64_t end, int worker)> body) {
  CHECK(grain > 0, "pieces of {}", grain);
  const std::int64_t pieces = (count + grain - 1) / grain;
  if (size() == 1 || pieces <= 1) {
    for (std::int64_t begin = 0; begin < count; begin += grain) {
      body(begin, std::min(begin + grain, count), 0);
    }
    return;
  }
  CHECK(pieces <= std::numeric_limits<std::uint32_t>::max(), "{} pieces", pieces);
  std::vector<PieceRange>& ranges = state_->ranges;
  for (std::int64_t worker = 0; worker < size(); ++worker) {
    ranges[static_cast<std::size_t>(worker)].assign(worker * pieces / size(),
                                                    (worker + 1) * pieces / size());
  }
  const auto take_pieces = [&](int worker) {
    const auto do_piece = [&](std::uint32_t piece) {
      const std::int64_t begin = std::int64_t{piece} * grain;
      body(begin, std::min(begin + grain, count), worker);
    };
    while (const auto piece = ranges[static_cast<std::size_t>(worker)].take_first()) {
      do_piece(*piece);
    }
    for (int next = 1; next < size(); ++next) {
      PieceRange& other = ranges[static_cast<std::size_t>((worker + next) % size())];
      while (const auto piece = other.take_last()) {
        do_piece(*piece);
      }
    }
  };
  state_->run(take_pieces, false);
}

}  // namespace edgewise::platform
