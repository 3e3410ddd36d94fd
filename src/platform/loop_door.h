// The way into a loop of the worker pool. The caller opens one loop after the other; workers come in while it is open and
// leave; the caller closes it and waits until nobody is inside. A worker that comes too late is not waited for.
#pragma once

#include <atomic>
#include <cstdint>

namespace edgewise::platform {

// The loop's number, whether it is closed, how many came in and how many are inside are one word, so that nobody comes in
// behind the back of whoever closes it. Up to 32,767 workers. Any thread; all operations are sequentially consistent.
class LoopDoor {
 public:
  // By the caller, of a loop that is closed and empty.
  void open_next() {
    const std::uint64_t last = state_.load(std::memory_order_relaxed);
    state_.store((last | (kLoop - 1)) + 1, std::memory_order_seq_cst);
  }

  // Whoever is not inside yet stays out.
  void close() { state_.fetch_or(kClosed, std::memory_order_seq_cst); }

  std::uint32_t loop() const { return loop_of(state_.load(std::memory_order_seq_cst)); }

  int inside() const { return static_cast<int>(state_.load(std::memory_order_seq_cst) % kEntry); }

  int entered() const {
    return static_cast<int>(state_.load(std::memory_order_seq_cst) % kClosed / kEntry);
  }

  // By a worker. `loop` becomes the newest one's number; false if that is closed.
  bool enter(std::uint32_t& loop) {
    std::uint64_t state = state_.load(std::memory_order_seq_cst);
    do {
      loop = loop_of(state);
      if ((state & kClosed) != 0) {
        return false;
      }
    } while (!state_.compare_exchange_weak(state, state + kEntry + 1, std::memory_order_seq_cst));
    return true;
  }

  void leave() { state_.fetch_sub(1, std::memory_order_seq_cst); }

 private:
  static constexpr std::uint64_t kEntry = 1U << 16;   // below: who is inside
  static constexpr std::uint64_t kClosed = 1U << 31;  // below: entries
  static constexpr std::uint64_t kLoop = std::uint64_t{1} << 32;

  static std::uint32_t loop_of(std::uint64_t state) {
    return static_cast<std::uint32_t>(state / kLoop);
  }

  std::atomic<std::uint64_t> state_{kClosed};
};

}  // namespace edgewise::platform
