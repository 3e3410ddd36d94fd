#include "kernels/ops.h"

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <utility>

#include "base/check.h"
#include "platform/aligned_memory.h"

namespace edgewise::kernels {
namespace {

// Work smaller than this many touched elements is not worth waking a worker for (about 2 us of one core).
constexpr std::int64_t kParallelElements = 8192;

// Of a loop, for which there is room from the start: two for each of 512 experts. More cost an allocation.
constexpr std::size_t kReservedJobs = 1024;

// Grows on demand; contents are lost.
class Arena {
 public:
  std::byte* get(std::int64_t bytes) {
    if (bytes > size_) {
      size_ = bytes;
      memory_ = platform::aligned_array<std::byte>(bytes);
    }
    return memory_.get();
  }

 private:
  platform::AlignedArray<std::byte> memory_;
  std::int64_t size_ = 0;
};

double seconds_since(std::chrono::steady_clock::time_point start) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

struct alignas(64) BusyTime {
  double seconds = 0.0;
};

}  // namespace

struct Ops::Scratch {
  std::vector<Arena> per_worker;
  std::vector<std::int64_t> panel_ends;  // of each job of a loop, counted through all jobs
  std::vector<BusyTime> busy;            // of each worker, in one loop
  Arena partials;
  AttentionPlan plan;
};

Ops::Ops(platform::WorkerPool& pool, const KernelTable& table)
    : pool_(pool), table_(table), scratch_(std::make_unique<Scratch>()) {
  scratch_->per_worker.resize(static_cast<std::size_t>(pool.size()));
  scratch_->busy.resize(static_cast<std::size_t>(pool.size()));
  scratch_->panel_ends.reserve(kReservedJobs);
}

Ops::~Ops() = default;

void Ops::for_rows(std::int64_t rows,
                   std::int64_t cost_per_row,
                   platform::FunctionRef<void(std::int64_t row)> body) {
  constexpr std::int64_t kPiecesPerWorker = 8;  // enough to help a slower one
  const bool alone = rows * cost_per_row < kParallelElements || pool_.size() == 1 || rows == 1;
  const std::int64_t grain =
      std::max({std::int64_t{1}, rows / (kPiecesPerWorker * pool_.size()),
                kParallelElements / 4 / std::max<std::int64_t>(1, cost_per_row)});
  loop(rows, grain, alone, [&](std::int64_t begin, std::int64_t end, int) {
    for (std::int64_t row = begin; row < end; ++row) {
      body(row);
    }
  });
}

void Ops::loop(std::int64_t count, std::int64_t grain, bool alone, Piece body) {
  const auto run = [&](Piece piece) {
    if (alone) {
      piece(0, count, 0);
    } else {
      pool_.parallel_for(count, grain, piece);
    }
  };
  if (profile_ == nullptr) {
    run(body);
    return;
  }
  const auto start = std::chrono::steady_clock::now();
  run([&](std::int64_t begin, std::int64_t end, int worker) {
    const auto piece_start = std::chrono::steady_clock::now();
    body(begin, end, worker);
    scratch_->busy[static_cast<std::size_t>(worker)].seconds += seconds_since(piece_start);
  });
  PhaseTimes& times = profile_->of(phase_);
  ++times.loops;
  times.wall_s += seconds_since(start);
  for (BusyTime& busy : scratch_->busy) {
    times.busy_s += std::exchange(busy.seconds, 0.0);
  }
}

void Ops::quantize(ActivationBuffer& x) {
  const Activations view = x.view();
  CHECK(view.cols % kBlock == 0, "{} columns are no multiple of {}", view.cols, kBlock);
  const Phase phase = std::exchange(phase_, Phase::kQuantize);
  for_rows(view.rows, view.cols, [&](std::int64_t t) {
    table_.quantize_row(view.values + t * view.cols, view.cols, x.row(t));
  });
  phase_ = phase;
}

// Checks a product, and adds it to the profile.
void Ops::count(const PackedMatrix& w, const Activations& x) {
  CHECK(w.cols == x.cols, "{} columns against {}", w.cols, x.cols);
  if (profile_ != nullptr) {
    PhaseTimes& times = profile_->of(phase_);
    times.macs += w.rows * x.cols * x.rows;
    times.weight_bytes += w.panels() * panel_bytes(w.type, x.cols);
  }
}

void Ops::reserve_scratch(std::int64_t bytes) {
  for (Arena& arena : scratch_->per_worker) {
    arena.get(bytes);
  }
}

void Ops::matmul(std::span<const MatmulJob> jobs, const Activations& x) {
  std::array<GroupedJob, 4> grouped;
  CHECK(jobs.size() <= grouped.size(), "{} products of the same activations", jobs.size());
  std::ranges::transform(jobs, grouped.begin(),
                         [&](const MatmulJob& job) { return GroupedJob{job, x}; });
  matmul(std::span<const GroupedJob>(grouped).first(jobs.size()));
}

void Ops::matmul(std::span<const GroupedJob> jobs) {
  if (jobs.empty()) {
    return;
  }
  std::vector<std::int64_t>& ends = scratch_->panel_ends;
  ends.clear();
  std::int64_t panels = 0;
  std::int64_t rows = 0;
  std::int64_t scratch_bytes = 0;
  for (const auto& [product, x] : jobs) {
    count(*product.weights, x);
    panels += product.weights->panels();
    ends.push_back(panels);
    rows += x.rows;
    scratch_bytes = std::max(scratch_bytes, matmul_scratch_bytes(x.cols));
  }
  reserve_scratch(scratch_bytes);
  // Pieces of about 32 KB of weights when few tokens stream them, single panels when many tokens reuse them.
  const PackedMatrix& first = *jobs.front().product.weights;
  const std::int64_t bytes = panel_bytes(first.type, first.cols);
  const std::int64_t grain =
      rows >= 16 * std::ssize(jobs)
          ? 1
          : std::clamp<std::int64_t>(32768 / std::max<std::int64_t>(1, bytes), 1, 64);
  loop(panels, grain, false, [&](std::int64_t begin, std::int64_t end, int worker) {
    std::byte* scratch = scratch_->per_worker[static_cast<std::size_t>(worker)].get(scratch_bytes);
    auto i = static_cast<std::size_t>(std::ranges::upper_bound(ends, begin) - ends.begin());
    for (; begin < end; ++i) {
      const auto& [product, x] = jobs[i];
      const std::int64_t job_begin = ends[i] - product.weights->panels();
      const std::int64_t here = std::min(end, ends[i]);
      table_.matmul(*product.weights, begin - job_begin, here - job_begin, x, product.y,
                    product.y_stride, scratch);
      begin = here;
    }
  });
}

void Ops::matmul_in_tiles(std::span<const PackedMatrix* const> matrices,
                          const Activations& x,
                          platform::FunctionRef<void(const OutputTile& tile)> consume) {
  constexpr std::int64_t kMostRows =
      128;  // with all columns of their inputs they fit the second-level cache
  const std::int64_t outputs = matrices.front()->rows;
  for (const PackedMatrix* w : matrices) {
    CHECK(w->rows == outputs && w->low == nullptr);
    count(*w, x);
  }
  const std::int64_t row_tiles = (x.rows + kMostRows - 1) / kMostRows;
  const std::int64_t column_tiles = (outputs + OutputTile::kColumns - 1) / OutputTile::kColumns;
  // An odd number of cache lines: rows a power of two apart would meet in a few sets of the cache.
  const std::int64_t stride = std::ssize(matrices) * OutputTile::kColumns + 16;
  const std::int64_t scratch_bytes = matmul_scratch_bytes(x.cols);
  const std::int64_t all_bytes = scratch_bytes + kMostRows * stride * 4;
  reserve_scratch(all_bytes);
  const auto run = [&](std::int64_t index, int worker) {
    OutputTile tile;
    tile.row_begin = index % row_tiles * x.rows / row_tiles;
    tile.row_end = (index % row_tiles + 1) * x.rows / row_tiles;
    tile.column_begin = index / row_tiles * OutputTile::kColumns;
    tile.column_end = std::min(outputs, tile.column_begin + OutputTile::kColumns);
    tile.stride = stride;
    std::byte* scratch = scratch_->per_worker[static_cast<std::size_t>(worker)].get(all_bytes);
    tile.y = reinterpret_cast<float*>(scratch + scratch_bytes);
    for (std::int64_t i = 0; i < std::ssize(matrices); ++i) {
      const PackedMatrix part =
          rows_of(*matrices[static_cast<std::size_t>(i)], tile.column_begin, tile.column_end);
      table_.matmul(part, 0, part.panels(), x.part(tile.row_begin, tile.row_end),
                    tile.of(tile.row_begin, i), stride, scratch);
    }
    consume(tile);
  };
  loop(row_tiles * column_tiles, 1, false, [&](std::int64_t begin, std::int64_t end, int worker) {
    for (std::int64_t i = begin; i < end; ++i) {
      run(i, worker);
    }
  });
}

void Ops::attention(const AttentionShape& shape,
                    std::span<const AttentionSegment> segments,
                    std::int64_t q_stride,
                    std::int64_t out_stride) {
  AttentionPlan& plan = scratch_->plan;
  plan.assign(shape, segments, pool_.size());
  auto* partials = reinterpret_cast<float*>(scratch_->partials.get(plan.partial_floats * 4));
  const std::int64_t scratch_bytes = attention_scratch_bytes(shape);
  reserve_scratch(scratch_bytes);
  const auto run = [&](const AttentionPlan::Piece& piece, int worker) {
    AttentionPlan::Tile& tile = plan.tiles[static_cast<std::size_t>(piece.tile)];
    const AttentionSegment& segment = segments[static_cast<std::size_t>(tile.segment)];
    AttentionTask task{
        .shape = &shape,
        .q = segment.q,
        .out = segment.out,
        .q_stride = q_stride,
        .out_stride = out_stride,
        .first_position = segment.first_position,
        .kv_length = segment.kv_length,
        .blocks = segment.blocks.data(),
        .kv_head = tile.kv_head,
        .token_begin = tile.token_begin,
        .token_end = tile.token_end,
        .block_begin = piece.block_begin,
        .block_end = piece.block_end,
        .scratch = scratch_->per_worker[static_cast<std::size_t>(worker)].get(scratch_bytes)};
    if (tile.partials < 0) {
      table_.attention(task);
      return;
    }
    const std::int64_t rows = (tile.token_end - tile.token_begin) * (shape.heads / shape.kv_heads);
    float* of_tile = partials + tile.partials;
    task.partials = of_tile + (piece.block_begin - tile.block_begin) *
                                  attention_partial_floats(rows, shape.value_dim);
    table_.attention(task);
    if (std::atomic_ref(tile.unfinished).fetch_sub(1, std::memory_order_acq_rel) == 1) {
      task.partials = of_tile;
      task.block_begin = tile.block_begin;
      task.block_end = tile.block_end;
      table_.attention_merge(task);
    }
  };
  loop(std::ssize(plan.pieces), 1, false, [&](std::int64_t begin, std::int64_t end, int worker) {
    for (std::int64_t i = begin; i < end; ++i) {
      run(plan.pieces[static_cast<std::size_t>(i)], worker);
    }
  });
}

}  // namespace edgewise::kernels
