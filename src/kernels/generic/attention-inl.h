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
//
// The register tiles are kTileRows rows x tile_vectors(rows) vectors; each instruction set defines them.

inline constexpr std::int64_t kLanes = 16;
inline constexpr std::int64_t kPanels = kKeyBlock / kLanes;
// Below every score, and finite, so that its distance to itself is 0.
inline constexpr float kLowest = -3.0e38F;

inline constexpr std::int64_t round_up_16(std::int64_t n) {
  return (n + 15) / 16 * 16;
}

struct AttentionTile {
  const AttentionShape& shape;
  const AttentionTask& task;
  std::int64_t group;  // query heads per KV head
  std::int64_t rows;   // (token, head of the group) pairs, token-major

  std::int64_t token(std::int64_t row) const { return task.token_begin + row / group; }

  const float* query(std::int64_t row) const {
    return task.q + token(row) * task.q_stride +
           (task.kv_head * group + row % group) * shape.head_dim;
  }

  float* output(std::int64_t row) const {
    return task.out + token(row) * task.out_stride +
           (task.kv_head * group + row % group) * shape.value_dim;
  }

  // Keys [first, last] that a token may see.
  std::int64_t first_key(std::int64_t token) const {
    const std::int64_t position = task.first_position + token;
    return shape.window > 0 && position >= shape.window ? position - shape.window + 1 : 0;
  }

  std::int64_t last_key(std::int64_t token) const {
    return shape.causal ? task.first_position + token : task.kv_length - 1;
  }
};

// What of a tile meets a block: both bounds grow with the token, so the rows are contiguous.
struct BlockRows {
  std::int64_t begin = 0;
  std::int64_t end = 0;
  bool is_edge = false;  // some row does not see all 64 keys
};

inline BlockRows rows_of_block(const AttentionTile& tile, std::int64_t block) {
  const std::int64_t base = block * kKeyBlock;
  std::int64_t first = tile.task.token_begin;
  std::int64_t last = tile.task.token_end;
  while (first < last && tile.last_key(first) < base) {
    ++first;
  }
  while (first < last && tile.first_key(last - 1) >= base + kKeyBlock) {
    --last;
  }
  if (first == last) {
    return {};
  }
  const bool sees_all =
      tile.last_key(first) >= base + kKeyBlock - 1 && tile.first_key(last - 1) <= base;
  return {(first - tile.task.token_begin) * tile.group, (last - tile.task.token_begin) * tile.group,
          !sees_all};
}

// The keys of a block that a range of rows sees, relative to the block.
struct KeyRange {
  std::int64_t begin = 0;
  std::int64_t end = kKeyBlock;
};

inline KeyRange keys_of_rows(const AttentionTile& tile,
                             std::int64_t block,
                             std::int64_t row_begin,
                             std::int64_t row_end) {
  const std::int64_t base = block * kKeyBlock;
  return {std::max<std::int64_t>(tile.first_key(tile.token(row_begin)) - base, 0),
          std::min(tile.last_key(tile.token(row_end - 1)) - base + 1, kKeyBlock)};
}

inline V load_stored(const float* p) {
  return V::load(p);
}

inline V load_stored(const std::uint16_t* p) {
  return V::load_f16(p);
}

inline V load_stored(const std::int8_t* p) {
  return V::load_codes(p);
}

template <typename T>
inline void prefetch(const T* from, std::int64_t count) {
  // Into the second level: the first's fewer outstanding misses hold a core to half of its bandwidth (Zen 4).
  constexpr int kSecondLevel = 2;
  constexpr std::int64_t kPerLine = 64 / sizeof(T);
  for (std::int64_t i = 0; i < count; i += kPerLine) {
    __builtin_prefetch(from + i, 0, kSecondLevel);
  }
}

// Keys or values of one block as floats (scratch), or as stored: then reading one prefetches the same place of `next`.
template <typename T>
struct BlockView {
  const T* data;
  const T* next;

  V load(std::int64_t index) const { return load_stored(data + index); }

  void prefetch_next(std::int64_t index, int vectors) const {
    if constexpr (!std::is_same_v<T, float>) {
      prefetch(next + index, vectors * kLanes);
    }
  }
};

// Of the 64 positions of one head; null where there are none.
struct KvScales {
  const float* keys;
  const float* values;
};

// scores[r][64] of kRows rows for panels [panel, panel + kVectors): 16 keys in lanes, queries broadcast.
template <int kRows, int kVectors, typename Keys>
inline void qk_panels(
    const float* const* queries, std::int64_t depth, Keys keys, std::int64_t panel, float* scores) {
  const float* q[kRows];
  for (int r = 0; r < kRows; ++r) {
    q[r] = queries[r];
  }
  V acc[kRows][kVectors];
  for (auto& accs : acc) {
    for (auto& a : accs) {
      a = V::set1(0.0F);
    }
  }
  for (std::int64_t d = 0; d < depth; ++d) {
    V k[kVectors];
#pragma GCC unroll 8
    for (int p = 0; p < kVectors; ++p) {
      k[p] = keys.load(((panel + p) * depth + d) * 16);
    }
    keys.prefetch_next((panel * depth + d * kVectors) * 16, kVectors);
#pragma GCC unroll 8
    for (int r = 0; r < kRows; ++r) {
      const V x = V::set1(q[r][d]);
#pragma GCC unroll 8
      for (int p = 0; p < kVectors; ++p) {
        acc[r][p] = V::fma(x, k[p], acc[r][p]);
      }
    }
  }
  for (int r = 0; r < kRows; ++r) {
    for (int p = 0; p < kVectors; ++p) {
      acc[r][p].store(scores + r * kKeyBlock + (panel + p) * 16);
    }
  }
}

template <int kRows, typename Keys>
inline void qk_rows(
    const float* const* queries, std::int64_t depth, Keys keys, KeyRange range, float* scores) {
  constexpr int kVectors = tile_vectors(kRows);
  if (range.begin == 0 && range.end == kKeyBlock) {
    for (std::int64_t panel = 0; panel < kPanels; panel += kVectors) {
      qk_panels<kRows, kVectors>(queries, depth, keys, panel, scores);
    }
    return;
  }
  for (std::int64_t panel = range.begin / 16; panel * 16 < range.end; ++panel) {
    qk_panels<kRows, 1>(queries, depth, keys, panel, scores);
  }
}

// body(rows as a compile-time constant, first row) over [begin, end) in groups of kTileRows and one smaller.
template <int kRows, typename Body>
inline void rest_of_rows(std::int64_t row, std::int64_t count, Body& body) {
  if constexpr (kRows > 0) {
    if (count == kRows) {
      body(std::integral_constant<int, kRows>{}, row);
    } else {
      rest_of_rows<kRows - 1>(row, count, body);
    }
  }
}

template <typename Body>
inline void for_row_groups(std::int64_t begin, std::int64_t end, Body body) {
  std::int64_t row = begin;
  for (; row + kTileRows <= end; row += kTileRows) {
    body(std::integral_constant<int, kTileRows>{}, row);
  }
  rest_of_rows<kTileRows - 1>(row, end - row, body);
}

// Lane i meets lane i ^ stride: the lower of the two becomes their sum, the upper their difference.
template <int kStride>
inline V sum_and_difference(V x) {
  alignas(64) static constexpr std::array<float, 16> kSigns = [] {
    std::array<float, 16> signs{};
    for (std::size_t i = 0; i < 16; ++i) {
      signs[i] = (i & kStride) == 0 ? 1.0F : -1.0F;
    }
    return signs;
  }();
  return V::add(V::mul(x, V::load(kSigns.data())), x.template exchanged<kStride>());
}

// to = factor * the Walsh-Hadamard transform of each `count & -count` values of `from` (which may be `to`), strides
// ascending. What is large in one place becomes moderate in all, and products of two transformed vectors are those of
// the vectors themselves, times that size.
inline void spread(const float* from, std::int64_t count, float factor, float* to) {
  for (std::int64_t d = 0; d < count; d += 16) {
    V x = V::mul(V::load(from + d), V::set1(factor));
    x = sum_and_difference<1>(x);
    x = sum_and_difference<2>(x);
    x = sum_and_difference<4>(x);
    sum_and_difference<8>(x).store(to + d);
  }
  const std::int64_t size = count & -count;
  for (std::int64_t stride = 16; stride < size; stride *= 2) {
    for (std::int64_t begin = 0; begin < count; begin += 2 * stride) {
      for (float* x = to + begin; x < to + begin + stride; x += 16) {
        const V a = V::load(x);
        const V b = V::load(x + stride);
        V::add(a, b).store(x);
        V::sub(a, b).store(x + stride);
      }
    }
  }
}

// +infinity for the keys of a block that a row sees, else -infinity: load from limits of 64 + what is to be left out.
struct KeyLimits {
  float from[2 * kKeyBlock];  // keys before `begin` are not seen: from + 64 - begin
  float to[2 * kKeyBlock];    // keys from `end` on are not seen: to + 64 - end
};

inline constexpr KeyLimits kKeyLimits = [] {
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  KeyLimits limits{};
  for (std::size_t i = 0; i < 2 * kKeyBlock; ++i) {
    limits.from[i] = i < kKeyBlock ? -kInfinity : kInfinity;
    limits.to[i] = -limits.from[i];
  }
  return limits;
}();

// Turns the 64 products with the keys of each of kRows rows into the weights of their values, 0 for keys that a row does
// not see (kEdge: `seen` says which). Several rows at once: one alone is a chain of some hundred cycles, of which a processor
// looks ahead too few instructions to begin the next.
template <int kRows, bool kEdge, bool kScaled>
inline void softmax_rows(const AttentionShape& shape,
                         const KeyRange* seen,
                         const KvScales& scales,
                         float* scores,
                         float* max,
                         float* sum) {
  V s[kRows][kPanels];
#pragma GCC unroll 8
  for (int r = 0; r < kRows; ++r) {
    for (int p = 0; p < kPanels; ++p) {
      V x = V::load(scores + r * kKeyBlock + p * kLanes);
      if constexpr (kScaled) {
        x = V::mul(x, V::load(scales.keys + p * kLanes));
      }
      x = V::mul(x, V::set1(shape.scale));
      if (shape.softcap > 0.0F) {
        x = softcapped(x, shape.softcap);
      }
      if constexpr (
          kEdge) {  // after the scale, whose sign a model file may choose; min() takes a limit before a NaN
        x = V::min(x, V::load(kKeyLimits.from + kKeyBlock - seen[r].begin + p * kLanes));
        x = V::min(x, V::load(kKeyLimits.to + kKeyBlock - seen[r].end + p * kLanes));
      }
      s[r][p] = x;
    }
  }
#pragma GCC unroll 8
  for (int r = 0; r < kRows; ++r) {
    max[r] = V::max(V::max(s[r][0], s[r][1]), V::max(s[r][2], s[r][3])).highest();
  }
#pragma GCC unroll 8
  for (int r = 0; r < kRows; ++r) {
    const V most = V::set1(max[r]);
    for (int p = 0; p < kPanels; ++p) {
      s[r][p] = exp(V::sub(s[r][p], most));
      const V weight = kScaled ? V::mul(s[r][p], V::load(scales.values + p * kLanes)) : s[r][p];
      weight.store(scores + r * kKeyBlock + p * kLanes);
    }
  }
#pragma GCC unroll 8
  for (int r = 0; r < kRows; ++r) {
    sum[r] = V::add(V::add(V::add(s[r][0], s[r][1]), s[r][2]), s[r][3]).sum();
  }
}

// The running softmax of rows in lanes takes in a block: `max`, `sum` are the running ones, `a` and `b` become the
// factors of what was before and of the block.
inline void merge_softmax(const float* block_max,
                          const float* block_sum,
                          std::int64_t rows,
                          float* max,
                          float* sum,
                          float* a,
                          float* b) {
  for (std::int64_t r = 0; r < rows; r += 16) {
    const V old_max = V::load(max + r);
    const V new_max = V::max(old_max, V::load(block_max + r));
    const V old_factor = exp(V::sub(old_max, new_max));
    const V new_factor = exp(V::sub(V::load(block_max + r), new_max));
    V::fma(V::load(sum + r), old_factor, V::mul(V::load(block_sum + r), new_factor)).store(sum + r);
    new_max.store(max + r);
    old_factor.store(a + r);
    new_factor.store(b + r);
  }
}

inline V merge_values(V old_value, V block_value, float a, float b) {
  return V::fma(old_value, V::set1(a), V::mul(block_value, V::set1(b)));
}

// o[r][Dv] of kRows rows from their weights and the block's values, handed to finish(r, index, vector).
template <int kRows, int kVectors, typename Values, typename Finish>
inline void pv_columns(const float* weights,
                       std::int64_t value_dim,
                       std::int64_t column,
                       KeyRange range,
                       Values values,
                       Finish finish) {
  V acc[kRows][kVectors];
  for (auto& accs : acc) {
    for (auto& a : accs) {
      a = V::set1(0.0F);
    }
  }
  for (std::int64_t i = range.begin; i < range.end; ++i) {
    V v[kVectors];
#pragma GCC unroll 8
    for (int j = 0; j < kVectors; ++j) {
      v[j] = values.load(i * value_dim + column + kLanes * j);
    }
    values.prefetch_next(i * value_dim + column, kVectors);
#pragma GCC unroll 8
    for (int r = 0; r < kRows; ++r) {
      const V p = V::set1(weights[r * kKeyBlock + i]);
#pragma GCC unroll 8
      for (int j = 0; j < kVectors; ++j) {
        acc[r][j] = V::fma(p, v[j], acc[r][j]);
      }
    }
  }
  for (int r = 0; r < kRows; ++r) {
    for (int j = 0; j < kVectors; ++j) {
      finish(r, column + kLanes * j, acc[r][j]);
    }
  }
}

template <int kRows, typename Values, typename Finish>
inline void pv_rows(
    const float* weights, std::int64_t value_dim, KeyRange range, Values values, Finish finish) {
  constexpr int kVectors = tile_vectors(kRows);
  std::int64_t column = 0;
  for (; column + kLanes * kVectors <= value_dim; column += kLanes * kVectors) {
    pv_columns<kRows, kVectors>(weights, value_dim, column, range, values, finish);
  }
  for (; column < value_dim; column += 16) {
    pv_columns<kRows, 1>(weights, value_dim, column, range, values, finish);
  }
}

template <typename T>
inline void widen(const T* from, std::int64_t count, float* to) {
  for (std::int64_t i = 0; i < count; i += 16) {
    load_stored(from + i).store(to + i);
  }
}

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

inline AttentionTile tile_of(const AttentionTask& task) {
  const std::int64_t group = task.shape->heads / task.shape->kv_heads;
  return {*task.shape, task, group, (task.token_end - task.token_begin) * group};
}

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
