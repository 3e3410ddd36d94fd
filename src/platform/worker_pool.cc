#include "platform/worker_pool.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <mutex>
#include <thread>
#include <vector>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace edgewise::platform {
namespace {

// Longer than the gap between two loops of a forward pass, shorter than anything a person or a battery notices.
constexpr auto kSpin = std::chrono::microseconds(50);

void pause_cpu() {
#if defined(__x86_64__)
  _mm_pause();
#else
  std::this_thread::yield();
#endif
}

// Spins until done() or kSpin has passed; returns done().
template <typename Done>
bool spin_until(Done done) {
  const auto start = std::chrono::steady_clock::now();
  while (true) {
    for (int i = 0; i < 64; ++i) {
      if (done()) {
        return true;
      }
      pause_cpu();
    }
    if (std::chrono::steady_clock::now() - start > kSpin) {
      return done();
    }
  }
}

}  // namespace

struct WorkerPool::State {
  // Each on its own cache line: workers poll `round`, the caller polls `running`.
  alignas(64) std::atomic<std::uint32_t> round{0};
  alignas(64) std::atomic<int> running{0};
  alignas(64) std::atomic<std::int64_t> next{0};
  const FunctionRef<void(int)>* body = nullptr;
  bool stop = false;
  std::atomic<int> sleepers{0};
  std::mutex mutex;
  std::condition_variable wake;
  std::vector<std::thread> threads;

  void work(int worker) {
    std::uint32_t seen = 0;
    while (true) {
      if (!spin_until([&] { return round.load(std::memory_order_acquire) != seen; })) {
        std::unique_lock lock(mutex);
        sleepers.fetch_add(1);
        wake.wait(lock, [&] { return round.load() != seen; });
        sleepers.fetch_sub(1);
      }
      seen = round.load(std::memory_order_acquire);
      if (stop) {
        return;
      }
      (*body)(worker);
      running.fetch_sub(1, std::memory_order_release);
    }
  }

  void start_round() {
    round.fetch_add(1);
    // A worker that decided to sleep holds the mutex while it checks `round`, so it either saw the new round or
    // is counted here.
    if (sleepers.load() > 0) {
      const std::lock_guard lock(mutex);
      wake.notify_all();
    }
  }
};

WorkerPool::WorkerPool(int threads) : state_(std::make_unique<State>()) {
  for (int worker = 1; worker < threads; ++worker) {
    state_->threads.emplace_back([state = state_.get(), worker] { state->work(worker); });
  }
}

WorkerPool::~WorkerPool() {
  state_->stop = true;
  state_->start_round();
  for (std::thread& thread : state_->threads) {
    thread.join();
  }
}

int WorkerPool::size() const { return static_cast<int>(state_->threads.size()) + 1; }

void WorkerPool::run(FunctionRef<void(int worker)> body) {
  if (size() == 1) {
    body(0);
    return;
  }
  state_->body = &body;
  state_->running.store(size() - 1, std::memory_order_relaxed);
  state_->start_round();
  body(0);
  while (!spin_until([&] { return state_->running.load(std::memory_order_acquire) == 0; })) {
    std::this_thread::yield();
  }
}

void WorkerPool::parallel_for(std::int64_t count,
                              std::int64_t grain,
                              FunctionRef<void(std::int64_t begin, std::int64_t end, int worker)> body) {
  if (size() == 1 || count <= grain) {
    if (count > 0) {
      body(0, count, 0);
    }
    return;
  }
  state_->next.store(0, std::memory_order_relaxed);
  run([&](int worker) {
    while (true) {
      const std::int64_t begin = state_->next.fetch_add(grain, std::memory_order_relaxed);
      if (begin >= count) {
        return;
      }
      body(begin, std::min(count, begin + grain), worker);
    }
  });
}

}  // namespace edgewise::platform
