// Matrix products: half a panel's 8 groups of codes stay in registers and meet the tokens of a tile. Included by the tables of
// avx2/ and avxvnni/ after codes-inl.h and their own
//   dot_groups<type, n, tokens>(w, first, stride, begin, sums)
//                 adds the exact products of n groups from `begin` on, for tokens `stride` blocks apart
//   kMostTokens   of a tile
//   kChains       tokens whose sums run side by side

// What the sum of a block or half block starts from: -kCodeBias * (sum of the token's codes). `start` is that for a
// bias of kOf.
template <DType type, int kOf>
[[gnu::always_inline]] inline __m256i first_sum(const std::int32_t& start) {
  constexpr int kBias = kSignedCodes<type> ? 0 : kCodeBias<type>;
  if constexpr (kBias == 0) {
    return _mm256_setzero_si256();
  } else if constexpr (kBias >= kOf) {
    return _mm256_slli_epi32(_mm256_set1_epi32(start), std::countr_zero(unsigned{kBias / kOf}));
  } else {
    return _mm256_srai_epi32(_mm256_set1_epi32(start), std::countr_zero(unsigned{kOf / kBias}));
  }
}

// One block of tokens `stride` blocks apart: acc + scale * (weights . codes) + min * sum. Half blocks are scaled and
// added as floats, exactly: no sum is larger than 2 * 128 * (16 * 32 * 128) = 2^24. That takes fewer instructions than
// 32-bit multiplications.
template <DType type, int kTokens>
[[gnu::always_inline]] inline void add_block(const __m256i w[8],
                                             const BlockScales& s,
                                             const CodeBlock* first,
                                             std::int64_t stride,
                                             __m256 acc[kTokens]) {
  constexpr bool kHasMin = kLayout<type>.dmin >= 0;
  __m256i sums[kTokens];
  __m256 dots[kTokens];
  if constexpr (kHalfScales<type>) {
    for (int h = 0; h < 2; ++h) {
      for (int j = 0; j < kTokens; ++j) {
        sums[j] = first_sum<type, 32>(first[j * stride].half_starts[h]);
      }
      dot_groups<type, 4, kTokens>(w, first, stride, 4 * h, sums);
      for (int j = 0; j < kTokens; ++j) {
        const __m256 sum = _mm256_cvtepi32_ps(sums[j]);
        dots[j] = h == 0 ? _mm256_mul_ps(sum, s.half[0]) : _mm256_fmadd_ps(sum, s.half[1], dots[j]);
      }
    }
  } else {
    for (int j = 0; j < kTokens; ++j) {
      sums[j] = first_sum<type, 16>(first[j * stride].start);
    }
    dot_groups<type, 8, kTokens>(w, first, stride, 0, sums);
    for (int j = 0; j < kTokens; ++j) {
      dots[j] = _mm256_cvtepi32_ps(sums[j]);
    }
  }
  for (int j = 0; j < kTokens; ++j) {
    const CodeBlock& token = first[j * stride];
    const __m256 scale = _mm256_set1_ps(token.scale);
    acc[j] = _mm256_fmadd_ps(dots[j], _mm256_mul_ps(s.scale, scale), acc[j]);
    if constexpr (kHasMin && kHalfScales<type>) {
      const auto min = [&](int h) {
        return _mm256_cvtepi32_ps(_mm256_set1_epi32(token.half_starts[h]));
      };
      const __m256 sum =
          _mm256_fmadd_ps(s.half_min[1], min(1), _mm256_mul_ps(s.half_min[0], min(0)));
      acc[j] = _mm256_fmadd_ps(sum, _mm256_mul_ps(s.min, scale), acc[j]);
    } else if constexpr (kHasMin) {
      acc[j] = _mm256_fmadd_ps(s.min, _mm256_set1_ps(token.sum), acc[j]);
    }
  }
}

void store_rows(float* y, __m256 v, std::int64_t rows) {
  if (rows >= 8) {
    _mm256_storeu_ps(y, v);
  } else if (rows > 0) {
    float lanes[8];
    _mm256_storeu_ps(lanes, v);
    std::memcpy(y, lanes, static_cast<std::size_t>(rows) * 4);
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
  for (std::int64_t b = 0; b < cols / kBlock; ++b, table += 32) {
    const std::byte* unit = panel + b / kPerUnit * kL.unit_bytes;
    for (int half = 0; half < 2; ++half) {
      const __m256 d = halves(unit + half * 16);
      const __m256 dmin = kL.dmin >= 0 ? halves(unit + kL.dmin + half * 16) : _mm256_setzero_ps();
      const BlockScales s = block_scales<type>(unit, static_cast<int>(b % kPerUnit), half, d, dmin);
      _mm256_storeu_ps(table + half * 8, s.scale);
      _mm256_storeu_ps(table + 16 + half * 8, s.min);
    }
  }
}

// One block of a tile's tokens, `stride` blocks apart from `group` on.
template <DType type, int kTokens>
[[gnu::always_inline]] inline void add_to_tile(const __m256i w[8],
                                               const BlockScales& s,
                                               const CodeBlock* group,
                                               std::int64_t stride,
                                               __m256 acc[kTokens]) {
  constexpr int kTogether = std::min(kChains, kTokens);
#pragma GCC unroll 16
  for (int j = 0; j + kTogether <= kTokens; j += kTogether) {
    // Else the compiler keeps an address a token, more than there are registers.
    asm("" : "+r"(group));
    add_block<type, kTogether>(w, s, group, stride, acc + j);
    group += kTogether * stride;
  }
  constexpr int kRest = kTokens % kTogether;
  if constexpr (kRest > 0) {
    add_block<type, kRest>(w, s, group, stride, acc + kTokens - kRest);
  }
}

// kTokens tokens from `t` against one panel. A block is unpacked once and used for all of them. (A loop over a number of tokens
// that the compiler does not know was 5 to 10 % slower.)
template <DType type, int kTokens, bool kFromTable = false>
void panel_tokens(const std::byte* panel,
                  const float* scale_table,
                  std::int64_t cols,
                  const Activations& x,
                  std::int64_t t,
                  float* y,
                  std::int64_t y_stride,
                  std::int64_t rows) {
  constexpr PackedLayout kL = kLayout<type>;
  constexpr int kPerUnit = static_cast<int>(kL.unit_cols / kBlock);
  const std::int64_t stride = cols / kBlock;
  const CodeBlock* tokens = x.row(t);
  __m256 acc[2][kTokens];
  for (auto& half : acc) {
    for (auto& a : half) {
      a = _mm256_setzero_ps();
    }
  }
  for (int j = 0; j < kTokens; ++j) {
    __builtin_prefetch(y + (t + j) * y_stride, 1);
  }
  for (std::int64_t u = 0; u < cols / kL.unit_cols; ++u) {
    const std::byte* unit = panel + u * kL.unit_bytes;
    for (int i = 0; i < kPerUnit; ++i) {
      const std::byte* block = unit + kL.blocks + i * kL.block_bytes;
      for (std::int64_t line = 0; line < kL.block_bytes + (i == 0 ? kL.blocks : 0); line += 64) {
        _mm_prefetch(block + kPrefetchBytes + line, _MM_HINT_T0);
      }
      const std::int64_t b = u * kPerUnit + i;
      for (int half = 0; half < 2; ++half) {
        __m256i w[8];
        unpack<type>(block, half, w);
        BlockScales s;
        if constexpr (kFromTable) {
          s.scale = _mm256_loadu_ps(scale_table + b * 32 + half * 8);
          s.min = _mm256_loadu_ps(scale_table + b * 32 + 16 + half * 8);
        } else {
          const __m256 d = halves(unit + half * 16);
          const __m256 dmin =
              kL.dmin >= 0 ? halves(unit + kL.dmin + half * 16) : _mm256_setzero_ps();
          s = block_scales<type>(unit, i, half, d, dmin);
        }
        add_to_tile<type, kTokens>(w, s, tokens + b, stride, acc[half]);
      }
    }
  }
  for (int j = 0; j < kTokens; ++j) {
    store_rows(y + (t + j) * y_stride, acc[0][j], rows);
    store_rows(y + (t + j) * y_stride + 8, acc[1][j], rows - 8);
  }
}

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
  const std::int64_t tiles = (x.rows + kMostTokens - 1) / kMostTokens;
  const bool use_table = kHasScaleTable<type> && tiles > 1;
  if constexpr (kHasScaleTable<type>) {
    if (use_table) {
      fill_scale_table<type>(panel, cols, scale_table);
    }
  }
  const auto run_tile = [&]<bool kFromTable>(std::int64_t t, std::int64_t tokens) {
    with_tile_of(tokens, [&]<int kTokens>() {
      panel_tokens<type, kTokens, kFromTable>(panel, scale_table, cols, x, t, y, y_stride, rows);
    });
  };
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
V float_weights(const std::byte* panel, std::int64_t k) {
  if constexpr (type == DType::kF32) {
    return {_mm256_loadu_ps(reinterpret_cast<const float*>(panel + k * 64)),
            _mm256_loadu_ps(reinterpret_cast<const float*>(panel + k * 64 + 32))};
  } else if constexpr (type == DType::kF16) {
    return {halves(panel + k * 32), halves(panel + k * 32 + 16)};
  } else {
    const auto wide = [&](const std::byte* p) {
      return _mm256_castsi256_ps(_mm256_slli_epi32(
          _mm256_cvtepu16_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p))), 16));
    };
    return {wide(panel + k * 32), wide(panel + k * 32 + 16)};
  }
}

constexpr int kFloatTokens = 6;

template <DType type, int kTokens>
void float_tokens(const std::byte* panel,
                  std::int64_t cols,
                  const float* x,
                  float* y,
                  std::int64_t y_stride,
                  std::int64_t rows) {
  V acc[kTokens];
  for (auto& a : acc) {
    a = V::set1(0.0F);
  }
  for (std::int64_t k = 0; k < cols; ++k) {
    const V w = float_weights<type>(panel, k);
#pragma GCC unroll 16
    for (int j = 0; j < kTokens; ++j) {
      acc[j] = V::fma(w, V::set1(x[j * cols + k]), acc[j]);
    }
  }
  for (int j = 0; j < kTokens; ++j) {
    store_rows(y + j * y_stride, acc[j].lo, rows);
    store_rows(y + j * y_stride + 8, acc[j].hi, rows - 8);
  }
}
