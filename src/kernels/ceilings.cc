#include "kernels/ceilings.h"

#include <sys/mman.h>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <vector>

#include "kernels/ceiling_routines.h"
#include "platform/cpu.h"

namespace edgewise::kernels {
namespace {

constexpr std::int64_t kMebibyte = std::int64_t{1} << 20;
// Larger than the last-level caches that small machines have; more only makes the measurement
// slower.
constexpr std::int64_t kBufferBytes = 512 * kMebibyte;
constexpr std::int64_t kLeastBufferBytes = 32 * kMebibyte;
constexpr std::int64_t kArithmeticRounds = 8'000'000;  // about 15 ms of 12 chains

// Units per second of one run on all workers; body returns the units that it did.
double rate(platform::WorkerPool& pool, platform::FunctionRef<double(int worker)> body) {
  std::vector<double> units(static_cast<std::size_t>(pool.size()));
  const auto start = std::chrono::steady_clock::now();
  pool.run([&](int worker) { units[static_cast<std::size_t>(worker)] = body(worker); });
  const double seconds =
      std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  double total = 0.0;
  for (const double u : units) {
    total += u;
  }
  return total / seconds;
}

double best_rate(platform::WorkerPool& pool,
                 int runs,
                 platform::FunctionRef<double(int worker)> body) {
  double best = 0.0;
  for (int run = 0; run < runs; ++run) {
    best = std::max(best, rate(pool, body));
  }
  return best;
}

class Buffer {
 public:
  explicit Buffer(std::int64_t bytes) : bytes_(bytes) {
    data_ = mmap(nullptr, static_cast<std::size_t>(bytes), PROT_READ | PROT_WRITE,
                 MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  }

  ~Buffer() {
    if (is_valid()) {
      munmap(data_, static_cast<std::size_t>(bytes_));
    }
  }

  Buffer(const Buffer&) = delete;
  Buffer& operator=(const Buffer&) = delete;

  bool is_valid() const { return data_ != MAP_FAILED; }

  char* data() const { return static_cast<char*>(data_); }

 private:
  void* data_;
  std::int64_t bytes_;
};

Result<double> measure_memory(platform::WorkerPool& pool, const CeilingRoutines& routines) {
  const std::int64_t threads = pool.size();
  const std::int64_t share =
      platform::available_memory_bytes() / 2 / threads / kMebibyte * kMebibyte;
  const std::int64_t bytes = std::clamp(share, kLeastBufferBytes, kBufferBytes);
  const Buffer buffer(bytes * threads + kPrefetchAhead);
  if (!buffer.is_valid()) {
    return fail(ErrorCode::kResourceExhausted, "no {} MiB of memory for measuring its speed",
                bytes * threads / kMebibyte);
  }
  const auto part = [&](int worker) { return buffer.data() + worker * bytes; };
  pool.run([&](int worker) {  // pages exist only once they were written, near who writes them
    for (std::int64_t at = 0; at < bytes; at += 4096) {
      part(worker)[at] = 1;
    }
  });
  double best = 0.0;
  int best_streams = 1;
  const auto measure = [&](int streams, int runs) {
    const double speed = best_rate(pool, runs, [&](int worker) {
      routines.read(part(worker), bytes, streams);
      return static_cast<double>(bytes);
    });
    if (speed > best) {
      best = speed;
      best_streams = streams;
    }
  };
  for (const int streams : {1, 2, 4, 8}) {
    measure(streams, 2);
  }
  measure(best_streams, 3);
  return best;
}

}  // namespace

Result<Ceilings> measure_ceilings(platform::WorkerPool& pool) {
  const CeilingRoutines routines = select_ceiling_routines();
  const auto arithmetic = [&](double (*routine)(std::int64_t)) {
    return best_rate(pool, 5, [&](int) { return routine(kArithmeticRounds); }) / 1e9;
  };
  Ceilings ceilings;
  ceilings.dram_gb_per_s = TRY(measure_memory(pool, routines)) / 1e9;
  ceilings.int8_gmac_per_s = arithmetic(routines.int8);
  ceilings.f32_gmac_per_s = arithmetic(routines.f32);
  return ceilings;
}

double measure_f32_gmac_per_s(platform::WorkerPool& pool) {
  const CeilingRoutines routines = select_ceiling_routines();
  return rate(pool, [&](int) { return routines.f32(kArithmeticRounds); }) / 1e9;
}

}  // namespace edgewise::kernels
