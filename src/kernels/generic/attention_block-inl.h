// The arithmetic of attention within one block of 64 keys: scores, their softmax, the weighted values, and how the softmax of
// a block joins that of the blocks before. Included by attention-inl.h. No include guard on purpose.
//
// The register tiles are kTileRows rows x tile_vectors(rows) vectors; each instruction set defines them.

#include "kernels/generic/attention_tile-inl.h"

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

template <typename T>
concept FoldsFour = requires(const T (&rows)[4], float* to) {
  T::sums(rows, to);
  T::highest(rows, to);
};

template <int kRows, typename T>
inline void highest_of(const T (&rows)[kRows], float* to) {
  if constexpr (kRows == 4 && FoldsFour<T>) {
    T::highest(rows, to);
  } else {
    for (int r = 0; r < kRows; ++r) {
      to[r] = rows[r].highest();
    }
  }
}

template <int kRows, typename T>
inline void sums_of(const T (&rows)[kRows], float* to) {
  if constexpr (kRows == 4 && FoldsFour<T>) {
    T::sums(rows, to);
  } else {
    for (int r = 0; r < kRows; ++r) {
      to[r] = rows[r].sum();
    }
  }
}

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
  V of_row[kRows];
#pragma GCC unroll 8
  for (int r = 0; r < kRows; ++r) {
    of_row[r] = V::max(V::max(s[r][0], s[r][1]), V::max(s[r][2], s[r][3]));
  }
  highest_of(of_row, max);
#pragma GCC unroll 8
  for (int r = 0; r < kRows; ++r) {
    const V most = V::set1(max[r]);
    for (int p = 0; p < kPanels; ++p) {
      s[r][p] = exp_to_88(V::sub(s[r][p], most));
      const V weight = kScaled ? V::mul(s[r][p], V::load(scales.values + p * kLanes)) : s[r][p];
      weight.store(scores + r * kKeyBlock + p * kLanes);
    }
  }
#pragma GCC unroll 8
  for (int r = 0; r < kRows; ++r) {
    of_row[r] = V::add(V::add(V::add(s[r][0], s[r][1]), s[r][2]), s[r][3]);
  }
  sums_of(of_row, sum);
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
    const V old_factor = exp_to_88(V::sub(old_max, new_max));
    const V new_factor = exp_to_88(V::sub(V::load(block_max + r), new_max));
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
