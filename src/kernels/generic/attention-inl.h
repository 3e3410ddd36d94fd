// Attention over blocks of 64 keys at absolute positions, written once over V (see elementwise-inl.h).
//
// Each (query row, block) is computed fresh: scores as one chain of fused multiply-adds over D, maximum,
// exponentials, their sum on 16 lanes, and the weighted values as one chain over the 64 keys. Blocks are then
// merged strictly in ascending order (online softmax: Milakov & Gimelshein 2018, arXiv 1805.02867), so the
// result does not depend on chunking, tiling or threads. Masked keys contribute exactly 0.
//
// A task runs in three passes over as many (block, row) units as the score buffer holds: scores, exponentials,
// values. Many rows take one block at a time, widened to floats once; few rows (decoding) take several blocks as
// stored, so that the passes' latencies overlap and memory is read ahead.
//
// Keys and values are binary16, or 8-bit codes (T is how they are stored). Codes are used as the integers that they
// are; a key's scale multiplies its score, a value's scale its weight, so both cost one operation for 16 positions.
// No include guard on purpose.

#include "kernels/generic/attention_block-inl.h"
#include "kernels/generic/spread-inl.h"

// A block's partial results: maxima and sums of the rows (padded to 16), then o[rows][Dv].
struct PartialBlock {
  float* max;
  float* sum;
  float* values;
};

inline PartialBlock partial_block(float* partials,
                                  std::int64_t index,
                                  std::int64_t rows,
                                  std::int64_t value_dim) {
  const std::int64_t lanes = round_up_16(rows);
  float* at = partials + index * attention_partial_floats(rows, value_dim);
  return {at, at + lanes, at + 2 * lanes};
}

// Everything that attention() keeps while it runs, carved out of the task's scratch.
template <typename T>
class AttentionRun {
 public:
  AttentionRun(const AttentionTile& tile)
      : tile_(tile),
        task_(tile.task),
        shape_(tile.shape),
        lanes_(round_up_16(tile.rows)),
        widens_(tile.rows > 2 * kTileRows),
        batch_(widens_ ? 1 : std::min<std::int64_t>(kMaxBatch, kAttentionTileRows / lanes_)) {
    float* at = reinterpret_cast<float*>(task_.scratch);
    const auto take = [&](std::int64_t floats) {
      float* taken = at;
      at += floats;
      return taken;
    };
    scores_ = take(kAttentionTileRows * kKeyBlock);
    widened_ = take(kKeyBlock * std::max(shape_.head_dim, shape_.value_dim));
    merged_ = take(kAttentionTileRows * shape_.value_dim);
    block_max_ = take(kAttentionTileRows);
    block_sum_ = take(kAttentionTileRows);
    max_ = take(kAttentionTileRows);
    sum_ = take(kAttentionTileRows);
    old_factor_ = take(kAttentionTileRows);
    new_factor_ = take(kAttentionTileRows);
    queries_ = reinterpret_cast<const float**>(take(2 * kAttentionTileRows));
    spread_ = take(kAttentionTileRows * shape_.head_dim);
    for (std::int64_t row = 0; row < tile.rows; ++row) {
      queries_[row] = kCodes ? spread_query(row) : tile.query(row);
    }
  }

  void run() {
    const bool merges = task_.partials == nullptr;
    if (merges) {
      std::fill_n(merged_, tile_.rows * shape_.value_dim, 0.0F);
      std::fill_n(max_, lanes_, kLowest);
      std::fill_n(sum_, lanes_, 0.0F);
    }
    for (std::int64_t begin = task_.block_begin; begin < task_.block_end; begin += batch_) {
      begin_ = begin;
      end_ = std::min(begin + batch_, task_.block_end);
      for (std::int64_t block = begin_; block < end_; ++block) {
        rows_[block - begin_] = rows_of_block(tile_, block);
      }
      for (std::int64_t block = begin_; block < end_; ++block) {
        find_scores(block);
      }
      for (std::int64_t block = begin_; block < end_; ++block) {
        find_exponentials(block);
      }
      for (std::int64_t block = begin_; block < end_; ++block) {
        if (merges) {
          merge_block(block);
        } else {
          store_block(block);
        }
      }
    }
    if (merges) {
      write_outputs();
    }
  }

 private:
  static constexpr std::int64_t kMaxBatch = 8;
  static constexpr bool kCodes = std::is_same_v<T, std::int8_t>;

  // As keys are before they become codes.
  const float* spread_query(std::int64_t row) {
    const std::int64_t depth = shape_.head_dim;
    float* to = spread_ + row * depth;
    spread(tile_.query(row), depth, 1.0F / static_cast<float>(depth & -depth), to);
    return to;
  }

  float* scores(std::int64_t block, std::int64_t row) const {
    return scores_ + ((block - begin_) * lanes_ + row) * kKeyBlock;
  }

  float* block_max(std::int64_t block) const { return block_max_ + (block - begin_) * lanes_; }

  float* block_sum(std::int64_t block) const { return block_sum_ + (block - begin_) * lanes_; }

  const T* stored_keys(std::int64_t block) const {
    return static_cast<const T*>(task_.blocks[block].k) +
           task_.kv_head * kKeyBlock * shape_.head_dim;
  }

  const T* stored_values(std::int64_t block) const {
    return static_cast<const T*>(task_.blocks[block].v) +
           task_.kv_head * kKeyBlock * shape_.value_dim;
  }

  KvScales scales(std::int64_t block) const {
    if constexpr (kCodes) {
      const std::int64_t at = task_.kv_head * kKeyBlock;
      return {task_.blocks[block].k_scales + at, task_.blocks[block].v_scales + at};
    } else {
      return {nullptr, nullptr};
    }
  }

  // What is read after the keys or values of `block`: the next block's, then the values of the batch, then the
  // next batch's keys.
  const T* after_keys(std::int64_t block) const {
    return block + 1 < end_ ? stored_keys(block + 1) : stored_values(begin_);
  }

  const T* after_values(std::int64_t block) const {
    return block + 1 < end_         ? stored_values(block + 1)
           : end_ < task_.block_end ? stored_keys(end_)
                                    : stored_values(block);
  }

  KeyRange range(std::int64_t block, std::int64_t row, std::int64_t rows) const {
    return rows_[block - begin_].is_edge ? keys_of_rows(tile_, block, row, row + rows) : KeyRange{};
  }

  void find_scores(std::int64_t block) {
    if (const KvScales next = scales(block); next.keys != nullptr) {
      prefetch(next.keys, kKeyBlock);
      prefetch(next.values, kKeyBlock);
    }
    if (widens_) {
      widen(stored_keys(block), kKeyBlock * shape_.head_dim, widened_);
      find_scores(block, BlockView<float>{widened_, nullptr});
    } else {
      find_scores(block, BlockView<T>{stored_keys(block), after_keys(block)});
    }
  }

  template <typename Keys>
  void find_scores(std::int64_t block, Keys keys) {
    const BlockRows& rows = rows_[block - begin_];
    for_row_groups(rows.begin, rows.end,
                   [&]<int kRows>(std::integral_constant<int, kRows>, std::int64_t row) {
                     qk_rows<kRows>(queries_ + row, shape_.head_dim, keys, range(block, row, kRows),
                                    scores(block, row));
                   });
  }

  void find_exponentials(std::int64_t block) {
    const BlockRows& rows = rows_[block - begin_];
    float* max = block_max(block);
    float* sum = block_sum(block);
    if (rows.end - rows.begin < lanes_) {
      std::fill_n(max, lanes_, kLowest);
      std::fill_n(sum, lanes_, 0.0F);
    }
    if (rows.is_edge) {
      find_exponentials<true>(block, rows);
    } else {
      find_exponentials<false>(block, rows);
    }
  }

  template <bool kEdge>
  void find_exponentials(std::int64_t block, const BlockRows& rows) {
    constexpr int kTogether = 4;
    const KvScales of_block = scales(block);
    const auto find = [&]<int kRows>(std::int64_t row) {
      KeyRange seen[kRows];
      for (int r = 0; kEdge && r < kRows; ++r) {
        seen[r] = keys_of_rows(tile_, block, row + r, row + r + 1);
      }
      softmax_rows<kRows, kEdge, kCodes>(shape_, seen, of_block, scores(block, row),
                                         block_max(block) + row, block_sum(block) + row);
    };
    std::int64_t row = rows.begin;
    for (; row + kTogether <= rows.end; row += kTogether) {
      find.template operator()<kTogether>(row);
    }
    for (; row < rows.end; ++row) {
      find.template operator()<1>(row);
    }
  }

  // finish(row, column, vector) with the block's weighted values of each row that sees it.
  template <typename Finish>
  void find_values(std::int64_t block, Finish finish) {
    if (widens_) {
      widen(stored_values(block), kKeyBlock * shape_.value_dim, widened_);
      find_values(block, BlockView<float>{widened_, nullptr}, finish);
    } else {
      find_values(block, BlockView<T>{stored_values(block), after_values(block)}, finish);
    }
  }

  template <typename Values, typename Finish>
  void find_values(std::int64_t block, Values values, Finish finish) {
    const BlockRows& rows = rows_[block - begin_];
    for_row_groups(
        rows.begin, rows.end, [&]<int kRows>(std::integral_constant<int, kRows>, std::int64_t row) {
          pv_rows<kRows>(scores(block, row), shape_.value_dim, range(block, row, kRows), values,
                         [&](int r, std::int64_t column, V o) { finish(row + r, column, o); });
        });
  }

  void merge_block(std::int64_t block) {
    merge_softmax(block_max(block), block_sum(block), tile_.rows, max_, sum_, old_factor_,
                  new_factor_);
    find_values(block, [&](std::int64_t row, std::int64_t column, V o) {
      float* at = merged_ + row * shape_.value_dim + column;
      merge_values(V::load(at), o, old_factor_[row], new_factor_[row]).store(at);
    });
  }

  void store_block(std::int64_t block) {
    const PartialBlock to =
        partial_block(task_.partials, block - task_.block_begin, tile_.rows, shape_.value_dim);
    std::copy_n(block_max(block), lanes_, to.max);
    std::copy_n(block_sum(block), lanes_, to.sum);
    find_values(block, [&](std::int64_t row, std::int64_t column, V o) {
      o.store(to.values + row * shape_.value_dim + column);
    });
  }

  void write_outputs() const {
    for (std::int64_t row = 0; row < tile_.rows; ++row) {
      const V sum = V::set1(sum_[row]);
      const float* from = merged_ + row * shape_.value_dim;
      float* to = tile_.output(row);
      for (std::int64_t d = 0; d < shape_.value_dim; d += 16) {
        V::div(V::load(from + d), sum).store(to + d);
      }
    }
  }

  const AttentionTile& tile_;
  const AttentionTask& task_;
  const AttentionShape& shape_;
  const std::int64_t lanes_;  // rows, padded to whole vectors
  const bool widens_;
  const std::int64_t batch_;  // blocks in one round of the three passes
  std::int64_t begin_ = 0;    // the batch
  std::int64_t end_ = 0;
  BlockRows rows_[kMaxBatch];
  float* scores_;                    // [batch][lanes][64]
  float* widened_;                   // one block's keys, then its values
  float* merged_;                    // [rows][Dv]
  float *block_max_, *block_sum_;    // [batch][lanes]
  float *max_, *sum_;                // [lanes]
  float *old_factor_, *new_factor_;  // [lanes]
  const float** queries_;            // [rows]
  float* spread_;                    // [rows][D]
};

inline void attention(const AttentionTask& task) {
  const AttentionTile tile = tile_of(task);
  if (task.blocks[task.block_begin].type == KvType::kQ8) {
    AttentionRun<std::int8_t>(tile).run();
  } else {
    AttentionRun<std::uint16_t>(tile).run();
  }
}

inline void attention_merge(const AttentionTask& task) {
  const AttentionTile tile = tile_of(task);
  const std::int64_t dv = task.shape->value_dim;
  const std::int64_t blocks = task.block_end - task.block_begin;
  for (std::int64_t begin = 0; begin < tile.rows; begin += 16) {
    const std::int64_t rows = std::min<std::int64_t>(16, tile.rows - begin);
    float max[16], sum[16] = {}, a[16], b[16];
    std::fill_n(max, 16, kLowest);
    for (std::int64_t block = 0; block < blocks; ++block) {
      const PartialBlock part = partial_block(task.partials, block, tile.rows, dv);
      merge_softmax(part.max + begin, part.sum + begin, rows, max, sum, a, b);
      for (std::int64_t r = 0; r < rows; ++r) {
        float* o = tile.output(begin + r);
        const float* from = part.values + (begin + r) * dv;
        if (block == 0) {
          std::fill_n(o, dv, 0.0F);
        }
        for (std::int64_t d = 0; d < dv && part.sum[begin + r] != 0.0F; d += 16) {
          merge_values(V::load(o + d), V::load(from + d), a[r], b[r]).store(o + d);
        }
      }
    }
    for (std::int64_t r = 0; r < rows; ++r) {
      float* o = tile.output(begin + r);
      for (std::int64_t d = 0; d < dv; d += 16) {
        V::div(V::load(o + d), V::set1(sum[r])).store(o + d);
      }
    }
  }
}
