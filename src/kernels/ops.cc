#include "kernels/ops.h"

#include <algorithm>
#include <cstring>

#include "base/check.h"

namespace edgewise::kernels {
namespace {

// Work smaller than this many touched elements is not worth waking a worker for (about 2 us of one core).
constexpr std::int64_t kParallelElements = 8192;

struct FreeAligned {
  void operator()(std::byte* p) const { std::free(p); }
};

// Grows on demand; contents are lost.
class Arena {
 public:
  std::byte* get(std::int64_t bytes) {
    if (bytes > size_) {
      size_ = (bytes + 4095) / 4096 * 4096;
      memory_.reset(
          static_cast<std::byte*>(std::aligned_alloc(64, static_cast<std::size_t>(size_))));
      CHECK(memory_ != nullptr, "out of memory for {} bytes of scratch", size_);
    }
    return memory_.get();
  }

 private:
  std::unique_ptr<std::byte, FreeAligned> memory_;
  std::int64_t size_ = 0;
};

// A piece of attention: one KV head of one segment, some of its tokens, some of its blocks.
struct Piece {
  std::int64_t segment;
  std::int64_t kv_head;
  std::int64_t token_begin, token_end;
  std::int64_t block_begin, block_end;
  std::int64_t
      partials;  // offset in floats; -1: the piece covers all blocks and writes the output itself
};

// Partial results of one token and KV head, to be merged over all blocks.
struct Merge {
  std::int64_t segment;
  std::int64_t kv_head;
  std::int64_t token;
  std::int64_t blocks;
  std::int64_t partials;
};

}  // namespace

struct Ops::Scratch {
  std::vector<Arena> per_worker;
  Arena partials;
  std::vector<Piece> pieces;
  std::vector<Merge> merges;
};

Ops::Ops(platform::WorkerPool& pool, const KernelTable& table)
    : pool_(pool), table_(table), scratch_(std::make_unique<Scratch>()) {
  scratch_->per_worker.resize(static_cast<std::size_t>(pool.size()));
}

Ops::~Ops() = default;

void Ops::for_rows(std::int64_t rows,
                   std::int64_t cost_per_row,
                   platform::FunctionRef<void(std::int64_t row)> body) {
  if (rows * cost_per_row < kParallelElements || pool_.size() == 1 || rows == 1) {
    for (std::int64_t row = 0; row < rows; ++row) {
      body(row);
    }
    return;
  }
  const std::int64_t grain =
      std::max<std::int64_t>(1, kParallelElements / 4 / std::max<std::int64_t>(1, cost_per_row));
  pool_.parallel_for(rows, grain, [&](std::int64_t begin, std::int64_t end, int) {
    for (std::int64_t row = begin; row < end; ++row) {
      body(row);
    }
  });
}

void Ops::quantize(ActivationBuffer& x) {
  const Activations view = x.view();
  const std::int64_t blocks = view.cols / kBlock;
  CHECK(view.cols % kBlock == 0, "{} columns are no multiple of {}", view.cols, kBlock);
  for_rows(view.rows, view.cols, [&](std::int64_t t) {
    table_.quantize_row(view.values + t * view.cols, view.cols, x.codes() + t * view.cols,
                        x.scales() + t * blocks, x.sums() + t * blocks,
                        x.half_sums() + t * blocks * 2);
  });
}

void Ops::matmul(std::span<const MatmulJob> jobs, const Activations& x) {
  std::int64_t panels = 0;
  for (const MatmulJob& job : jobs) {
    CHECK(job.weights->cols == x.cols, "{} columns against {}", job.weights->cols, x.cols);
    panels += job.weights->panels();
  }
  // Pieces of about 32 KB of weights when few tokens stream them, single panels when many tokens reuse them.
  const std::int64_t bytes = panel_bytes(jobs.front().weights->type, x.cols);
  const std::int64_t grain =
      x.rows >= 16 ? 1 : std::clamp<std::int64_t>(32768 / std::max<std::int64_t>(1, bytes), 1, 64);
  pool_.parallel_for(panels, grain, [&](std::int64_t begin, std::int64_t end, int) {
    for (const MatmulJob& job : jobs) {
      const std::int64_t here = job.weights->panels();
      if (begin < here && end > 0) {
        table_.matmul(*job.weights, std::max<std::int64_t>(begin, 0), std::min(end, here), x, job.y,
                      job.y_stride, nullptr);
      }
      begin -= here;
      end -= here;
    }
  });
}

void Ops::attention(const AttentionShape& shape,
                    std::span<const AttentionSegment> segments,
                    std::int64_t q_stride,
                    std::int64_t out_stride) {
  const std::int64_t group = shape.heads / shape.kv_heads;
  const std::int64_t tile_tokens = std::max<std::int64_t>(1, kAttentionTileRows / group);
  CHECK(group <= kAttentionTileRows && shape.head_dim % 16 == 0 && shape.value_dim % 16 == 0);
  std::vector<Piece>& pieces = scratch_->pieces;
  std::vector<Merge>& merges = scratch_->merges;
  pieces.clear();
  merges.clear();
  std::int64_t partial_floats = 0;
  for (std::size_t s = 0; s < segments.size(); ++s) {
    const AttentionSegment& segment = segments[s];
    for (std::int64_t begin = 0; begin < segment.tokens; begin += tile_tokens) {
      const std::int64_t end = std::min(segment.tokens, begin + tile_tokens);
      const std::int64_t first = segment.first_position + begin;
      const std::int64_t lowest =
          shape.window > 0 && first >= shape.window ? first - shape.window + 1 : 0;
      const std::int64_t length = shape.causal ? segment.first_position + end : segment.kv_length;
      const std::int64_t block_begin = lowest / kKeyBlock;
      const std::int64_t block_end = (length + kKeyBlock - 1) / kKeyBlock;
      // A single token has too few pieces for all workers when the cache is long: split its blocks.
      constexpr std::int64_t kBlocksPerPiece = 4;
      const bool split =
          segment.tokens == 1 && pool_.size() > 1 && block_end - block_begin > kBlocksPerPiece;
      for (std::int64_t head = 0; head < shape.kv_heads; ++head) {
        if (!split) {
          pieces.push_back(
              {static_cast<std::int64_t>(s), head, begin, end, block_begin, block_end, -1});
          continue;
        }
        const std::int64_t per_block = group * (shape.value_dim + 2);
        merges.push_back(
            {static_cast<std::int64_t>(s), head, begin, block_end - block_begin, partial_floats});
        for (std::int64_t b = block_begin; b < block_end; b += kBlocksPerPiece) {
          const std::int64_t stop = std::min(block_end, b + kBlocksPerPiece);
          pieces.push_back(
              {static_cast<std::int64_t>(s), head, begin, end, b, stop, partial_floats});
          partial_floats += (stop - b) * per_block;
        }
      }
    }
  }
  auto* partials = reinterpret_cast<float*>(scratch_->partials.get(partial_floats * 4));
  const std::int64_t scratch_bytes = attention_scratch_bytes(shape);
  for (Arena& arena : scratch_->per_worker) {
    arena.get(scratch_bytes);
  }
  pool_.parallel_for(std::ssize(pieces), 1, [&](std::int64_t begin, std::int64_t end, int worker) {
    for (std::int64_t i = begin; i < end; ++i) {
      const Piece& piece = pieces[static_cast<std::size_t>(i)];
      const AttentionSegment& segment = segments[static_cast<std::size_t>(piece.segment)];
      AttentionTask task;
      task.shape = &shape;
      task.q = segment.q;
      task.out = segment.out;
      task.q_stride = q_stride;
      task.out_stride = out_stride;
      task.first_position = segment.first_position;
      task.kv_length = segment.kv_length;
      task.blocks = segment.blocks.data();
      task.kv_head = piece.kv_head;
      task.token_begin = piece.token_begin;
      task.token_end = piece.token_end;
      task.block_begin = piece.block_begin;
      task.block_end = piece.block_end;
      task.partials = piece.partials >= 0 ? partials + piece.partials : nullptr;
      task.scratch = scratch_->per_worker[static_cast<std::size_t>(worker)].get(scratch_bytes);
      table_.attention(task);
    }
  });
  for_rows(std::ssize(merges), kParallelElements / 4, [&](std::int64_t i) {
    const Merge& merge = merges[static_cast<std::size_t>(i)];
    const AttentionSegment& segment = segments[static_cast<std::size_t>(merge.segment)];
    table_.attention_merge(
        partials + merge.partials, merge.blocks, group, shape.value_dim,
        segment.out + merge.token * out_stride + merge.kv_head * group * shape.value_dim,
        shape.value_dim);
  });
}

}  // namespace edgewise::kernels
