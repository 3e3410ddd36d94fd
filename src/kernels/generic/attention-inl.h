// Attention over blocks of 64 keys at absolute positions, written once over V (see elementwise-inl.h).
//
// Each (query row, block) is computed fresh: scores as one chain of fused multiply-adds over D, maximum,
// exponentials, their sum on 16 lanes, and the weighted values as one chain over the 64 keys. Blocks are then
// merged strictly in ascending order (online softmax: Milakov & Gimelshein 2018, arXiv 1805.02867), so the
// result does not depend on chunking, tiling or threads. Masked keys contribute exactly 0.
//
// kQkPanels x kQkRows and kPvVectors x kPvRows are the register tiles; each instruction set defines them.

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

  // Keys [first, last] that the row may see.
  std::int64_t first_key(std::int64_t row) const {
    const std::int64_t position = task.first_position + token(row);
    return shape.window > 0 && position >= shape.window ? position - shape.window + 1 : 0;
  }

  std::int64_t last_key(std::int64_t row) const {
    return shape.causal ? task.first_position + token(row) : task.kv_length - 1;
  }
};

// Keys and values of one block as floats (scratch) or as stored.
template <bool kStored>
struct BlockView {
  const void* data;

  V load(std::int64_t index) const {
    if constexpr (kStored) {
      return V::load_f16(static_cast<const std::uint16_t*>(data) + index);
    } else {
      return V::load(static_cast<const float*>(data) + index);
    }
  }
};

// scores[r][64] for kRows rows: panels of 16 keys in lanes, queries broadcast.
template <int kRows, typename Keys>
inline void qk_rows(const AttentionTile& tile, std::int64_t row, Keys keys, float* scores) {
  const std::int64_t depth = tile.shape.head_dim;
  const float* q[kRows];
  for (int r = 0; r < kRows; ++r) {
    q[r] = tile.query(row + r);
  }
  for (int panel = 0; panel < 4; panel += kQkPanels) {
    V acc[kRows][kQkPanels];
    for (auto& accs : acc) {
      for (auto& a : accs) {
        a = V::set1(0.0F);
      }
    }
    for (std::int64_t d = 0; d < depth; ++d) {
      V k[kQkPanels];
#pragma GCC unroll 8
      for (int p = 0; p < kQkPanels; ++p) {
        k[p] = keys.load(((panel + p) * depth + d) * 16);
      }
#pragma GCC unroll 8
      for (int r = 0; r < kRows; ++r) {
        const V x = V::set1(q[r][d]);
#pragma GCC unroll 8
        for (int p = 0; p < kQkPanels; ++p) {
          acc[r][p] = V::fma(x, k[p], acc[r][p]);
        }
      }
    }
    for (int r = 0; r < kRows; ++r) {
      for (int p = 0; p < kQkPanels; ++p) {
        acc[r][p].store(scores + r * kKeyBlock + (panel + p) * 16);
      }
    }
  }
}

struct BlockSoftmax {
  float max;
  float sum;
};

// Turns scores of keys [0, 64) of a block into exponentials; keys outside [first, last] become 0.
inline BlockSoftmax softmax_block(const AttentionShape& shape,
                                  std::int64_t first,
                                  std::int64_t last,
                                  float* scores) {
  V s[4];
  V top = V::set1(-std::numeric_limits<float>::infinity());
  for (int p = 0; p < 4; ++p) {
    s[p] = V::mul(V::load(scores + p * 16), V::set1(shape.scale));
    if (shape.softcap > 0.0F) {
      s[p] = softcapped(s[p], shape.softcap);
    }
    if (first > p * 16 || last < p * 16 + 15) {
      float lanes[16];
      s[p].store(lanes);
      for (int i = 0; i < 16; ++i) {
        if (p * 16 + i < first || p * 16 + i > last) {
          lanes[i] = -std::numeric_limits<float>::infinity();
        }
      }
      s[p] = V::load(lanes);
    }
    top = V::max(top, s[p]);
  }
  const float max = top.highest();
  V sum = V::set1(0.0F);
  for (int p = 0; p < 4; ++p) {
    const V e = exp(V::sub(s[p], V::set1(max)));
    e.store(scores + p * 16);
    sum = V::add(sum, e);
  }
  return {max, sum.sum()};
}

// Running softmax of one row; `o` has Dv floats.
struct MergeState {
  float max = -std::numeric_limits<float>::infinity();
  float sum = 0.0F;
};

struct MergeFactors {
  float old_factor;
  float new_factor;
};

inline float exp_scalar(float x) {
  float lanes[16];
  exp(V::set1(x)).store(lanes);
  return lanes[0];
}

inline MergeFactors merge_softmax(MergeState& state, BlockSoftmax block) {
  const float max = state.max > block.max ? state.max : block.max;
  const MergeFactors f{exp_scalar(state.max - max), exp_scalar(block.max - max)};
  state.sum = std::fma(state.sum, f.old_factor, block.sum * f.new_factor);
  state.max = max;
  return f;
}

inline V merge_values(V old_value, V block_value, MergeFactors f) {
  return V::fma(old_value, V::set1(f.old_factor), V::mul(block_value, V::set1(f.new_factor)));
}

// o[r][Dv] of kRows rows from their exponentials and the block's values, handed to finish(r, index, vector).
template <int kRows, int kVectors, typename Values, typename Finish>
inline void pv_columns(const float* exps,
                       std::int64_t value_dim,
                       std::int64_t column,
                       std::int64_t keys,
                       Values values,
                       Finish finish) {
  V acc[kRows][kVectors];
  for (auto& accs : acc) {
    for (auto& a : accs) {
      a = V::set1(0.0F);
    }
  }
  for (std::int64_t i = 0; i < keys; ++i) {
    V v[kVectors];
#pragma GCC unroll 8
    for (int j = 0; j < kVectors; ++j) {
      v[j] = values.load(i * value_dim + column + 16 * j);
    }
#pragma GCC unroll 8
    for (int r = 0; r < kRows; ++r) {
      const V p = V::set1(exps[r * kKeyBlock + i]);
#pragma GCC unroll 8
      for (int j = 0; j < kVectors; ++j) {
        acc[r][j] = V::fma(p, v[j], acc[r][j]);
      }
    }
  }
  for (int r = 0; r < kRows; ++r) {
    for (int j = 0; j < kVectors; ++j) {
      finish(r, column + 16 * j, acc[r][j]);
    }
  }
}

template <int kRows, typename Values, typename Finish>
inline void pv_rows(
    const float* exps, std::int64_t value_dim, std::int64_t keys, Values values, Finish finish) {
  std::int64_t column = 0;
  for (; column + 16 * kPvVectors <= value_dim; column += 16 * kPvVectors) {
    pv_columns<kRows, kPvVectors>(exps, value_dim, column, keys, values, finish);
  }
  for (; column < value_dim; column += 16) {
    pv_columns<kRows, 1>(exps, value_dim, column, keys, values, finish);
  }
}

// kRows consecutive rows of the tile against one block. `states`, `merged` [rows, Dv]: running results;
// in partials mode the block's own results are stored instead.
template <int kRows, typename Keys, typename Values>
inline void attend_rows(const AttentionTile& tile,
                        std::int64_t row,
                        std::int64_t block,
                        Keys keys,
                        Values values,
                        MergeState* states,
                        float* merged) {
  const AttentionTask& task = tile.task;
  const std::int64_t dv = tile.shape.value_dim;
  const std::int64_t base = block * kKeyBlock;
  float scores[kRows * kKeyBlock];
  BlockSoftmax softmax[kRows];
  MergeFactors factors[kRows];
  bool seen[kRows];
  qk_rows<kRows>(tile, row, keys, scores);
  std::int64_t used = 0;
  for (int r = 0; r < kRows; ++r) {
    const std::int64_t first = tile.first_key(row + r) - base;
    const std::int64_t last = std::min(tile.last_key(row + r) - base, kKeyBlock - 1);
    seen[r] = first < kKeyBlock && last >= 0;
    if (!seen[r]) {
      std::fill_n(scores + r * kKeyBlock, kKeyBlock, 0.0F);
      softmax[r] = {-std::numeric_limits<float>::infinity(), 0.0F};
      continue;
    }
    softmax[r] = softmax_block(tile.shape, first, last, scores + r * kKeyBlock);
    used = std::max(used, last + 1);
    if (task.partials == nullptr) {
      factors[r] = merge_softmax(states[row + r], softmax[r]);
    }
  }
  if (task.partials == nullptr) {
    pv_rows<kRows>(scores, dv, used, values, [&](int r, std::int64_t column, V o) {
      if (seen[r]) {
        float* at = merged + (row + r) * dv + column;
        merge_values(V::load(at), o, factors[r]).store(at);
      }
    });
    return;
  }
  float* partials = task.partials + ((block - task.block_begin) * tile.rows + row) * (dv + 2);
  for (int r = 0; r < kRows; ++r) {
    partials[r * (dv + 2)] = softmax[r].max;
    partials[r * (dv + 2) + 1] = softmax[r].sum;
  }
  pv_rows<kRows>(scores, dv, used, values, [&](int r, std::int64_t column, V o) {
    o.store(partials + r * (dv + 2) + 2 + column);
  });
}

template <typename Keys, typename Values>
inline void attend_block(const AttentionTile& tile,
                         std::int64_t block,
                         Keys keys,
                         Values values,
                         MergeState* states,
                         float* merged) {
  std::int64_t row = 0;
  for (; row + kQkRows <= tile.rows; row += kQkRows) {
    attend_rows<kQkRows>(tile, row, block, keys, values, states, merged);
  }
  for (; row + 2 <= tile.rows; row += 2) {
    attend_rows<2>(tile, row, block, keys, values, states, merged);
  }
  for (; row < tile.rows; ++row) {
    attend_rows<1>(tile, row, block, keys, values, states, merged);
  }
}

inline void widen(const std::uint16_t* from, std::int64_t count, float* to) {
  for (std::int64_t i = 0; i < count; i += 16) {
    V::load_f16(from + i).store(to + i);
  }
}

inline void attention(const AttentionTask& task) {
  const AttentionShape& shape = *task.shape;
  const std::int64_t group = shape.heads / shape.kv_heads;
  const AttentionTile tile{shape, task, group, (task.token_end - task.token_begin) * group};
  const std::int64_t dv = shape.value_dim;
  float* keys = reinterpret_cast<float*>(task.scratch);
  float* values = keys + kKeyBlock * shape.head_dim;
  float* merged = values + kKeyBlock * dv;
  auto* states = reinterpret_cast<MergeState*>(merged + kAttentionTileRows * dv);
  std::fill_n(merged, task.partials == nullptr ? tile.rows * dv : 0, 0.0F);
  std::fill_n(states, tile.rows, MergeState{});
  for (std::int64_t block = task.block_begin; block < task.block_end; ++block) {
    const std::uint16_t* k = task.blocks[block].k + task.kv_head * kKeyBlock * shape.head_dim;
    const std::uint16_t* v = task.blocks[block].v + task.kv_head * kKeyBlock * dv;
    if (tile.rows > kQkRows) {  // enough reuse to pay for widening the block once
      widen(k, kKeyBlock * shape.head_dim, keys);
      widen(v, kKeyBlock * dv, values);
      attend_block(tile, block, BlockView<false>{keys}, BlockView<false>{values}, states, merged);
    } else {
      attend_block(tile, block, BlockView<true>{k}, BlockView<true>{v}, states, merged);
    }
  }
  if (task.partials == nullptr) {
    for (std::int64_t row = 0; row < tile.rows; ++row) {
      const V sum = V::set1(states[row].sum);
      for (std::int64_t d = 0; d < dv; d += 16) {
        V::div(V::load(merged + row * dv + d), sum).store(tile.output(row) + d);
      }
    }
  }
}

inline void attention_merge(const float* partials,
                            std::int64_t blocks,
                            std::int64_t rows,
                            std::int64_t value_dim,
                            float* out,
                            std::int64_t out_stride) {
  for (std::int64_t row = 0; row < rows; ++row) {
    float* o = out + row * out_stride;
    std::fill_n(o, value_dim, 0.0F);
    MergeState state;
    for (std::int64_t block = 0; block < blocks; ++block) {
      const float* part = partials + (block * rows + row) * (value_dim + 2);
      const BlockSoftmax softmax{part[0], part[1]};
      if (softmax.sum == 0.0F) {
        continue;  // the row sees no key of this block
      }
      const MergeFactors f = merge_softmax(state, softmax);
      for (std::int64_t d = 0; d < value_dim; d += 16) {
        merge_values(V::load(o + d), V::load(part + 2 + d), f).store(o + d);
      }
    }
    for (std::int64_t d = 0; d < value_dim; d += 16) {
      V::div(V::load(o + d), V::set1(state.sum)).store(o + d);
    }
  }
}

inline void store_kv(const AttentionShape& shape,
                     const float* k,
                     const float* v,
                     const KvBlock& block,
                     std::int64_t offset) {
  const std::int64_t depth = shape.head_dim;
  for (std::int64_t h = 0; h < shape.kv_heads; ++h) {
    std::uint16_t* keys = block.k + h * kKeyBlock * depth + offset / 16 * depth * 16 + offset % 16;
    std::uint16_t half[16];
    for (std::int64_t d = 0; d < depth; d += 16) {
      V::load(k + h * depth + d).store_f16(half);
      for (int i = 0; i < 16; ++i) {
        keys[(d + i) * 16] = half[i];
      }
    }
    for (std::int64_t d = 0; d < shape.value_dim; d += 16) {
      V::load(v + h * shape.value_dim + d)
          .store_f16(block.v + (h * kKeyBlock + offset) * shape.value_dim + d);
    }
  }
}
