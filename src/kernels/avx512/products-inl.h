// Products of one panel: 8 unpacked groups of codes in registers meet the tokens of a tile. Included by table.cc after
// panels-inl.h.

// The integer sums of groups [begin, begin + count) for several tokens. Their chains run side by side: one after the other,
// the waiting ones would fill the scheduler.
template <int count, int kTokens>
[[gnu::always_inline]] inline void dot_groups(const __m512i* w,
                                              const CodeBlock* first,
                                              std::int64_t stride,
                                              int begin,
                                              __m512i sums[kTokens]) {
#pragma GCC unroll 8
  for (int g = begin; g < begin + count; ++g) {
#pragma GCC unroll 16
    for (int j = 0; j < kTokens; ++j) {
      sums[j] =
          _mm512_dpbusd_epi32(sums[j], w[g], broadcast_codes(first[j * stride].codes + 4 * g));
    }
  }
}

// What the sum of a block or half block starts from: -kCodeBias * (sum of the token's codes). `start` is that for a
// bias of kOf.
template <DType type, int kOf>
[[gnu::always_inline]] inline __m512i first_sum(const std::int32_t& start) {
  if constexpr (kCodeBias<type> == 0) {
    return _mm512_setzero_si512();
  } else if constexpr (kCodeBias<type> >= kOf) {
    return _mm512_slli_epi32(_mm512_set1_epi32(start),
                             std::countr_zero(unsigned{kCodeBias<type> / kOf}));
  } else {
    return _mm512_srai_epi32(_mm512_set1_epi32(start),
                             std::countr_zero(unsigned{kOf / kCodeBias<type>}));
  }
}

// One block of tokens `stride` blocks apart: acc + scale * (weights . codes) + min * sum. Half blocks are scaled and
// added as floats, exactly: no sum is larger than 2 * 128 * (16 * 32 * 128) = 2^24.
template <DType type, int kTokens>
[[gnu::always_inline]] inline void add_block(const __m512i w[8],
                                             const BlockScales& s,
                                             const CodeBlock* first,
                                             std::int64_t stride,
                                             __m512 acc[kTokens]) {
  constexpr bool kHasMin = kLayout<type>.dmin >= 0;
  __m512i sums[kTokens];
  __m512 dots[kTokens];
  if constexpr (kHalfScales<type>) {
    for (int h = 0; h < 2; ++h) {
      for (int j = 0; j < kTokens; ++j) {
        sums[j] = first_sum<type, 32>(first[j * stride].half_starts[h]);
      }
      dot_groups<4, kTokens>(w, first, stride, 4 * h, sums);
      for (int j = 0; j < kTokens; ++j) {
        const __m512 sum = _mm512_cvtepi32_ps(sums[j]);
        dots[j] = h == 0 ? _mm512_mul_ps(sum, s.half[0]) : _mm512_fmadd_ps(sum, s.half[1], dots[j]);
      }
    }
  } else {
    for (int j = 0; j < kTokens; ++j) {
      sums[j] = first_sum<type, 16>(first[j * stride].start);
    }
    dot_groups<8, kTokens>(w, first, stride, 0, sums);
    for (int j = 0; j < kTokens; ++j) {
      dots[j] = _mm512_cvtepi32_ps(sums[j]);
    }
  }
  for (int j = 0; j < kTokens; ++j) {
    const CodeBlock& token = first[j * stride];
    const __m512 scale = _mm512_set1_ps(token.scale);
    acc[j] = _mm512_fmadd_ps(dots[j], _mm512_mul_ps(s.scale, scale), acc[j]);
    if constexpr (kHasMin && kHalfScales<type>) {
      const auto min = [&](int h) {
        return _mm512_cvtepi32_ps(_mm512_set1_epi32(token.half_starts[h]));
      };
      const __m512 sum =
          _mm512_fmadd_ps(s.half_min[1], min(1), _mm512_mul_ps(s.half_min[0], min(0)));
      acc[j] = _mm512_fmadd_ps(sum, _mm512_mul_ps(s.min, scale), acc[j]);
    } else if constexpr (kHasMin) {
      acc[j] = _mm512_fmadd_ps(s.min, _mm512_set1_ps(token.sum), acc[j]);
    }
  }
}

// Types whose scales take enough work to be unpacked once for a whole panel when several tiles of tokens use them.
template <DType type>
constexpr bool kHasScaleTable = kLayout<type>.unit_cols == 256 && !kHalfScales<type>;

// [block][scale, min][16 rows]
template <DType type>
void fill_scale_table(const std::byte* panel, std::int64_t cols, float* table) {
  constexpr PackedLayout kL = kLayout<type>;
  constexpr int kPerUnit = static_cast<int>(kL.unit_cols / kBlock);
  for (std::int64_t u = 0; u < cols / kL.unit_cols; ++u) {
    const std::byte* unit = panel + u * kL.unit_bytes;
    const __m512 d = halves(unit);
    const __m512 dmin = kL.dmin >= 0 ? halves(unit + kL.dmin) : _mm512_setzero_ps();
    for (int i = 0; i < kPerUnit; ++i, table += 32) {
      const BlockScales s = block_scales<type>(unit, i, d, dmin);
      _mm512_storeu_ps(table, s.scale);
      _mm512_storeu_ps(table + 16, s.min);
    }
  }
}

// A tile's tokens go through a block in groups of at most so many, as equal as possible, whose sums run side by side: a chain
// of 8 products takes 40 cycles. A group of 8 leaves no register for some accumulators, and is still faster.
template <DType type, int kTokens>
constexpr int kMostChains = !kHalfScales<type> ? 8
                            : kTokens > 8      ? 2
                                               : 4;

// One block of a tile's tokens, `stride` blocks apart from `group` on.
template <DType type, int kTokens>
[[gnu::always_inline]] inline void add_to_tile(const __m512i w[8],
                                               const BlockScales& s,
                                               const CodeBlock* group,
                                               std::int64_t stride,
                                               __m512 acc[kTokens]) {
  constexpr int kGroups = (kTokens + kMostChains<type, kTokens> - 1) / kMostChains<type, kTokens>;
  constexpr int kLess = kTokens / kGroups;
  constexpr int kMore = kTokens % kGroups;  // groups of one more
#pragma GCC unroll 16
  for (int i = 0; i < kMore; ++i) {
    // Else the compiler keeps an address a token, more than there are registers.
    asm("" : "+r"(group));
    add_block<type, kLess + 1>(w, s, group, stride, acc + i * (kLess + 1));
    group += (kLess + 1) * stride;
  }
#pragma GCC unroll 16
  for (int i = kMore; i < kGroups; ++i) {
    asm("" : "+r"(group));
    add_block<type, kLess>(w, s, group, stride, acc + kMore + i * kLess);
    group += kLess * stride;
  }
}

// kTokens tokens from `t` against one panel. A block is unpacked once and used for all of them.
template <DType type, int kTokens, bool kFromTable = false>
void panel_tokens(const std::byte* panel,
                  const float* scale_table,
                  std::int64_t cols,
                  const Activations& x,
                  std::int64_t t,
                  float* y,
                  std::int64_t y_stride,
                  __mmask16 rows) {
  constexpr PackedLayout kL = kLayout<type>;
  constexpr int kPerUnit = static_cast<int>(kL.unit_cols / kBlock);
  const std::int64_t stride = cols / kBlock;
  const CodeBlock* tokens = x.row(t);
  __m512 acc[kTokens];
  for (auto& a : acc) {
    a = _mm512_setzero_ps();
  }
  for (int j = 0; j < kTokens; ++j) {
    __builtin_prefetch(y + (t + j) * y_stride, 1);
  }
  for (std::int64_t u = 0; u < cols / kL.unit_cols; ++u) {
    const std::byte* unit = panel + u * kL.unit_bytes;
    const __m512 d = halves(unit);
    const __m512 dmin = kL.dmin >= 0 ? halves(unit + kL.dmin) : _mm512_setzero_ps();
    for (int i = 0; i < kPerUnit; ++i) {
      const std::byte* block = unit + kL.blocks + i * kL.block_bytes;
      for (std::int64_t line = 0; line < kL.block_bytes + (i == 0 ? kL.blocks : 0); line += 64) {
        _mm_prefetch(block + kPrefetchBytes + line, _MM_HINT_T0);
      }
      __m512i w[8];
      unpack<type>(block, w);
      const std::int64_t b = u * kPerUnit + i;
      BlockScales s;
      if constexpr (kFromTable) {
        s.scale = _mm512_loadu_ps(scale_table + b * 32);
        s.min = _mm512_loadu_ps(scale_table + b * 32 + 16);
      } else {
        s = block_scales<type>(unit, i, d, dmin);
      }
      add_to_tile<type, kTokens>(w, s, tokens + b, stride, acc);
    }
  }
  for (int j = 0; j < kTokens; ++j) {
    _mm512_mask_storeu_ps(y + (t + j) * y_stride, rows, acc[j]);
  }
}

// Most tokens of a tile: their accumulators, 8 groups of codes, scales and sums share 32 registers.
constexpr int kMostTokens = 16;

// run.template operator()<tokens>(), of 1 to kMostTokens.
template <typename Run>
void with_tile_of(std::int64_t tokens, Run&& run) {
  [&]<int... kLess>(std::integer_sequence<int, kLess...>) {
    static_cast<void>(
        ((tokens == kLess + 1 && (run.template operator()<kLess + 1>(), true)) || ...));
  }(std::make_integer_sequence<int, kMostTokens>());
}

template <DType type>
void quantized_panel(const std::byte* panel,
                     std::int64_t cols,
                     const Activations& x,
                     float* y,
                     std::int64_t y_stride,
                     std::int64_t rows,
                     float* scale_table) {
  const auto run_tile = [&]<bool kFromTable>(std::int64_t t, std::int64_t tokens) {
    with_tile_of(tokens, [&]<int kTokens>() {
      panel_tokens<type, kTokens, kFromTable>(panel, scale_table, cols, x, t, y, y_stride,
                                              mask_of(rows));
    });
  };
  const std::int64_t tiles = (x.rows + kMostTokens - 1) / kMostTokens;
  const bool use_table = kHasScaleTable<type> && tiles > 1;
  if constexpr (kHasScaleTable<type>) {
    if (use_table) {
      fill_scale_table<type>(panel, cols, scale_table);
    }
  }
  for (std::int64_t i = 0; i < tiles; ++i) {
    const std::int64_t t = i * x.rows / tiles;
    const std::int64_t tokens = (i + 1) * x.rows / tiles - t;
    if (use_table) {
      run_tile.template operator()<kHasScaleTable<type>>(t, tokens);
    } else {
      run_tile.template operator()<false>(t, tokens);
    }
  }
}

template <DType type>
__m512 float_weights(const std::byte* panel, std::int64_t k) {
  if constexpr (type == DType::kF32) {
    return _mm512_loadu_ps(panel + k * 64);
  } else if constexpr (type == DType::kF16) {
    return halves(panel + k * 32);
  } else {
    const __m256i bits = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(panel + k * 32));
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(bits), 16));
  }
}

constexpr int kFloatTokens = 12;

template <DType type, int kTokens>
void float_tokens(const std::byte* panel,
                  std::int64_t cols,
                  const float* x,
                  float* y,
                  std::int64_t y_stride,
                  std::int64_t rows) {
  __m512 acc[kTokens];
  for (auto& a : acc) {
    a = _mm512_setzero_ps();
  }
  for (std::int64_t k = 0; k < cols; ++k) {
    const __m512 w = float_weights<type>(panel, k);
#pragma GCC unroll 16
    for (int j = 0; j < kTokens; ++j) {
      acc[j] = _mm512_fmadd_ps(w, _mm512_set1_ps(x[j * cols + k]), acc[j]);
    }
  }
  for (int j = 0; j < kTokens; ++j) {
    _mm512_mask_storeu_ps(y + j * y_stride, mask_of(rows), acc[j]);
  }
}
