#include "model/oracle_matmul.h"

#include <algorithm>
#include <cstring>
#include <vector>

#include "platform/cpu.h"

// Eight rows against one token, eight running sums each. The same source for every instruction set: wider registers
// only do the same additions sooner, so the sums are the same bits.
namespace edgewise::model {
namespace {

constexpr std::int64_t kRows = 8;
using Sums = double __attribute__((vector_size(64)));  // 8 lanes

__attribute__((always_inline)) inline void dot_rows_body(const double* w,
                                                         const double* x,
                                                         std::int64_t cols,
                                                         double* out) {
  Sums sums[kRows] = {};
  std::int64_t k = 0;
  for (; k + 8 <= cols; k += 8) {
    Sums xs;
    std::memcpy(&xs, x + k, sizeof(xs));
    for (std::int64_t r = 0; r < kRows; ++r) {
      Sums ws;
      std::memcpy(&ws, w + r * cols + k, sizeof(ws));
      sums[r] += ws * xs;
    }
  }
  for (std::int64_t r = 0; r < kRows; ++r) {
    double total = 0.0;
    for (int lane = 0; lane < 8; ++lane) {
      total += sums[r][lane];
    }
    for (std::int64_t i = k; i < cols; ++i) {
      total += w[r * cols + i] * x[i];
    }
    out[r] = total;
  }
}

using DotRows = void (*)(const double* w, const double* x, std::int64_t cols, double* out);

void dot_rows_baseline(const double* w, const double* x, std::int64_t cols, double* out) {
  dot_rows_body(w, x, cols, out);
}

#if defined(__x86_64__)
__attribute__((target("avx2"))) void dot_rows_avx2(const double* w,
                                                   const double* x,
                                                   std::int64_t cols,
                                                   double* out) {
  dot_rows_body(w, x, cols, out);
}

__attribute__((target("avx512f"))) void dot_rows_avx512(const double* w,
                                                        const double* x,
                                                        std::int64_t cols,
                                                        double* out) {
  dot_rows_body(w, x, cols, out);
}
#endif

DotRows choose_dot_rows() {
#if defined(__x86_64__)
  if (platform::cpu_features().avx512) {
    return dot_rows_avx512;
  }
  if (platform::cpu_features().avx2_fma_f16c) {
    return dot_rows_avx2;
  }
#endif
  return dot_rows_baseline;
}

}  // namespace

void oracle_matmul(
    platform::WorkerPool& pool, const Matrix& w, const double* x, std::int64_t tokens, double* y) {
  const DotRows dot_rows = choose_dot_rows();
  const std::int64_t groups = (w.rows + kRows - 1) / kRows;
  pool.parallel_for(groups, 2, [&](std::int64_t begin, std::int64_t end, int) {
    std::vector<float> row(static_cast<std::size_t>(w.cols));
    std::vector<double> rows(static_cast<std::size_t>(w.cols * kRows), 0.0);
    for (std::int64_t g = begin; g < end; ++g) {
      const std::int64_t first = g * kRows;
      const std::int64_t count = std::min(kRows, w.rows - first);
      for (std::int64_t r = 0; r < count; ++r) {
        w.read_row(first + r, row);
        std::copy(row.begin(), row.end(), rows.begin() + r * w.cols);
      }
      for (std::int64_t t = 0; t < tokens; ++t) {
        double sums[kRows];
        dot_rows(rows.data(), x + t * w.cols, w.cols, sums);
        for (std::int64_t r = 0; r < count; ++r) {
          y[t * w.rows + first + r] = sums[r];
        }
      }
    }
  });
}

}  // namespace edgewise::model
