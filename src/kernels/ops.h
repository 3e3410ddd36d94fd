// The operations a model is made of, run on a worker pool by the chosen instruction set's kernels.
//
// Every result is a function of its inputs only: the same bits for any number of threads, any grouping of
// tokens into calls, and every instruction set (docs/arithmetic.md). One caller at a time (the engine thread).
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string_view>
#include <vector>

#include "kernels/activations.h"
#include "kernels/attention_plan.h"
#include "kernels/kernel_table.h"
#include "kernels/packed.h"
#include "kernels/step_profile.h"
#include "platform/worker_pool.h"

namespace edgewise::kernels {

// y[t * y_stride + row] = sum over k of w[row, k] * x[t, k]
struct MatmulJob {
  const PackedMatrix* weights = nullptr;
  float* y = nullptr;
  std::int64_t y_stride = 0;
};

// A product of activations of its own.
struct GroupedJob {
  MatmulJob product;
  Activations x;
};

// Outputs [column_begin, column_end) of tokens [row_begin, row_end), of several products of the same activations.
struct OutputTile {
  static constexpr std::int64_t kColumns = 128;  // most of them
  std::int64_t row_begin = 0, row_end = 0;
  std::int64_t column_begin = 0, column_end = 0;
  float* y = nullptr;  // [tokens][stride], a product's columns behind the one's before
  std::int64_t stride = 0;

  // The tile's columns of one token and product.
  float* of(std::int64_t row, std::int64_t product) const {
    return y + (row - row_begin) * stride + product * kColumns;
  }
};

class Ops {
 public:
  Ops(platform::WorkerPool& pool, const KernelTable& table);
  ~Ops();

  const KernelTable& kernels() const { return table_; }

  platform::WorkerPool& pool() { return pool_; }

  // What the loops from now on belong to; counts only while a profile is attached.
  void enter(Phase phase) { phase_ = phase; }

  // Adds the times of all loops to `profile`, until nullptr is attached; it must live as long.
  void attach(StepProfile* profile) { profile_ = profile; }

  // Fills codes, scales and sums of `x` from its values [rows, cols].
  void quantize(ActivationBuffer& x);

  // Up to four products of the same activations (Q, K, V; gate and up) in one parallel region.
  void matmul(std::span<const MatmulJob> jobs, const Activations& x);

  // ... and of different ones (the experts of a mixture). Best for weights of one type and width: what a piece of the loop is
  // goes by the first job's.
  void matmul(std::span<const GroupedJob> jobs);

  // Products with matrices of equally many rows whose outputs go no further than the cache: consume(tile) is called with
  // each tile as soon as it is computed, on any worker, and its outputs are gone afterwards. For many tokens, whose
  // outputs would go to memory and come back. Not for matrices in planes.
  void matmul_in_tiles(std::span<const PackedMatrix* const> matrices,
                       const Activations& x,
                       platform::FunctionRef<void(const OutputTile& tile)> consume);

  void attention(const AttentionShape& shape,
                 std::span<const AttentionSegment> segments,
                 std::int64_t q_stride,
                 std::int64_t out_stride);

  // body(row) for each row in [0, rows), in parallel when `cost_per_row` (elements touched) makes it worth it.
  void for_rows(std::int64_t rows,
                std::int64_t cost_per_row,
                platform::FunctionRef<void(std::int64_t row)> body);

 private:
  using Piece = platform::FunctionRef<void(std::int64_t begin, std::int64_t end, int worker)>;

  void count(const PackedMatrix& w, const Activations& x);

  // Of every worker, also those that may not come: none allocates in a loop.
  void reserve_scratch(std::int64_t bytes);

  // The pool's loop, or with `alone` one call on this thread, timed for the profile.
  void loop(std::int64_t count, std::int64_t grain, bool alone, Piece body);

  platform::WorkerPool& pool_;
  const KernelTable& table_;
  struct Scratch;
  std::unique_ptr<Scratch> scratch_;
  StepProfile* profile_ = nullptr;
  Phase phase_ = Phase::kEmbedding;
};

}  // namespace edgewise::kernels
