// Products of one panel with many tokens. A block of 32 columns of 16 rows is a tile of 8 x 64 bytes as it lies in a panel, that
// of up to 16 tokens one of 32 bytes a token, read where the activations are; tdpbssd multiplies them exactly. The sums go
// through memory to the vector registers, where the defined arithmetic goes on (docs/arithmetic.md): while a block's sums are
// scaled, the next one's are made.

constexpr int kTileTokens = 16;
constexpr std::int64_t kLeastTokens = 32;  // fewer are left to AVX-512

template <DType type>
void fill_blocks(const std::byte* panel, std::int64_t cols, UnpackedBlock* out) {
  constexpr PackedLayout kL = kLayout<type>;
  constexpr int kPerUnit = static_cast<int>(kL.unit_cols / kBlock);
  for (std::int64_t u = 0; u < cols / kL.unit_cols; ++u) {
    const std::byte* unit = panel + u * kL.unit_bytes;
    const UnitScales of_unit = unit_scales<type>(unit, 0);
    SubScales sub;
    if constexpr (kHasSubScales<type>) {
      read_sub_scales<type>(unit, sub);
    }
    for (int i = 0; i < kPerUnit; ++i, ++out) {
      __m512i w[8];
      unpack<type>(unit + kL.blocks + i * kL.block_bytes, w);
      keep<type>(w, block_scales<type>(unit, of_unit, sub, i, 0), 0, *out);
    }
  }
}

// Intel SDM, LDTILECFG. Tiles 0 to 3 are sums, 4 and 5 tokens, 6 and 7 weights.
struct alignas(64) TileConfig {
  std::uint8_t palette;
  std::uint8_t start_row;
  std::uint8_t reserved[14];
  std::uint16_t row_bytes[16];
  std::uint8_t rows[16];
};

template <int kHalves>
constexpr TileConfig kTileConfig = {
    .palette = 1,
    .start_row = 0,
    .reserved = {},
    .row_bytes = {64, 64, 64, 64, 32 / kHalves, 32 / kHalves, 64, 64},
    .rows = {kTileTokens, kTileTokens, kTileTokens, kTileTokens, kTileTokens, kTileTokens,
             8 / kHalves, 8 / kHalves}};

// g++ 12 does not know that loading a tile reads memory.
inline void finish_stores() {
  asm volatile("" ::: "memory");
}

using TileSums = std::int32_t[2][kTileTokens][16];  // [half][token][row]

// The sums of one block, by the tiles kSlot and kSlot + 1 of each kind.
template <int kHalves, int kSlot>
[[gnu::always_inline]] inline void multiply_block(const UnpackedBlock& w,
                                                  const CodeBlock* tokens,
                                                  std::int64_t stride_bytes,
                                                  TileSums& sums) {
  if constexpr (kHalves == 1) {
    if constexpr (kSlot == 0) {
      _tile_loadd(4, tokens->codes, stride_bytes);
      _tile_loadd(6, w.codes, 64);
      _tile_zero(0);
      _tile_dpbssd(0, 4, 6);
      _tile_stored(0, sums[0], 64);
    } else {
      _tile_loadd(5, tokens->codes, stride_bytes);
      _tile_loadd(7, w.codes, 64);
      _tile_zero(1);
      _tile_dpbssd(1, 5, 7);
      _tile_stored(1, sums[0], 64);
    }
  } else {
    _tile_loadd(4, tokens->codes, stride_bytes);
    _tile_loadd(6, w.codes, 64);
    _tile_loadd(5, tokens->codes + 16, stride_bytes);
    _tile_loadd(7, w.codes[4], 64);
    if constexpr (kSlot == 0) {
      _tile_zero(0);
      _tile_dpbssd(0, 4, 6);
      _tile_stored(0, sums[0], 64);
      _tile_zero(1);
      _tile_dpbssd(1, 5, 7);
      _tile_stored(1, sums[1], 64);
    } else {
      _tile_zero(2);
      _tile_dpbssd(2, 4, 6);
      _tile_stored(2, sums[0], 64);
      _tile_zero(3);
      _tile_dpbssd(3, 5, 7);
      _tile_stored(3, sums[1], 64);
    }
  }
}

// Halves' integers times their scales stay below 2^24, so floats hold them and their sum exactly.
template <int kHalves, bool kHasMin>
[[gnu::always_inline]] inline void scale_block(const UnpackedBlock& w,
                                               const CodeBlock* tokens,
                                               std::int64_t stride,
                                               const TileSums& sums,
                                               __m512 acc[kTileTokens]) {
  const __m512 scale = _mm512_loadu_ps(w.scale);
  const __m512 min = kHasMin ? _mm512_loadu_ps(w.min) : _mm512_setzero_ps();
  const auto sum_of = [&](int h, int j) {
    return _mm512_cvtepi32_ps(_mm512_load_si512(sums[h][j]));
  };
#pragma GCC unroll 16
  for (int j = 0; j < kTileTokens; ++j) {
    if (j > 0 && j % 4 == 0) {
      tokens += 4 * stride;
      asm(""
          : "+r"(
              tokens));  // else the compiler keeps an address a token, more than there are registers
    }
    const CodeBlock& token = tokens[j % 4 * stride];
    const __m512 token_scale = _mm512_set1_ps(token.scale);
    if constexpr (kHalves == 2) {
      const __m512 first = _mm512_mul_ps(sum_of(0, j), _mm512_loadu_ps(w.half[0]));
      const __m512 sum = _mm512_fmadd_ps(sum_of(1, j), _mm512_loadu_ps(w.half[1]), first);
      acc[j] = _mm512_fmadd_ps(sum, _mm512_mul_ps(scale, token_scale), acc[j]);
      if constexpr (kHasMin) {
        const auto of = [&](int h) {
          return _mm512_cvtepi32_ps(_mm512_set1_epi32(token.half_starts[h]));
        };
        const __m512 low = _mm512_mul_ps(_mm512_loadu_ps(w.half_min[0]), of(0));
        const __m512 both = _mm512_fmadd_ps(_mm512_loadu_ps(w.half_min[1]), of(1), low);
        acc[j] = _mm512_fmadd_ps(both, _mm512_mul_ps(min, token_scale), acc[j]);
      }
    } else {
      acc[j] = _mm512_fmadd_ps(sum_of(0, j), _mm512_mul_ps(scale, token_scale), acc[j]);
      if constexpr (kHasMin) {
        acc[j] = _mm512_fmadd_ps(min, _mm512_set1_ps(token.sum), acc[j]);
      }
    }
  }
}

// kTileTokens tokens, `stride` blocks apart, against one panel.
template <int kHalves, bool kHasMin>
void multiply_tile(const UnpackedBlock* w,
                   const CodeBlock* tokens,
                   std::int64_t stride,
                   float* y,
                   std::int64_t y_stride,
                   __mmask16 rows) {
  const std::int64_t stride_bytes = stride * static_cast<std::int64_t>(sizeof(CodeBlock));
  alignas(64) TileSums sums[2];
  __m512 acc[kTileTokens];
#pragma GCC unroll 16
  for (int j = 0; j < kTileTokens; ++j) {
    acc[j] = _mm512_setzero_ps();
  }
  multiply_block<kHalves, 0>(w[0], tokens, stride_bytes, sums[0]);
  for (std::int64_t b = 0; b < stride; b += 2) {
    if (b + 1 < stride) {
      multiply_block<kHalves, 1>(w[b + 1], tokens + b + 1, stride_bytes, sums[1]);
    }
    scale_block<kHalves, kHasMin>(w[b], tokens + b, stride, sums[0], acc);
    if (b + 2 < stride) {
      multiply_block<kHalves, 0>(w[b + 2], tokens + b + 2, stride_bytes, sums[0]);
    }
    if (b + 1 < stride) {
      scale_block<kHalves, kHasMin>(w[b + 1], tokens + b + 1, stride, sums[1], acc);
    }
  }
#pragma GCC unroll 16
  for (int j = 0; j < kTileTokens; ++j) {
    _mm512_mask_storeu_ps(y + j * y_stride, rows, acc[j]);
  }
}

// At least kTileTokens tokens. The last tile may overlap the one before, and then computes the same bits twice.
template <DType type>
void multiply_panels(const PackedMatrix& w,
                     std::int64_t panel_begin,
                     std::int64_t panel_end,
                     const Activations& x,
                     float* y,
                     std::int64_t y_stride,
                     std::byte* scratch) {
  constexpr int kHalves = kHalfScales<type> ? 2 : 1;
  constexpr bool kHasMin = kLayout<type>.dmin >= 0;
  const std::int64_t bytes = panel_bytes(type, w.cols);
  auto* blocks = reinterpret_cast<UnpackedBlock*>(scratch);
  _tile_loadconfig(&kTileConfig<kHalves>);
  for (std::int64_t p = panel_begin; p < panel_end; ++p) {
    fill_blocks<type>(w.data + p * bytes, w.cols, blocks);
    finish_stores();
    const __mmask16 rows = mask_of(std::min(kPanelRows, w.rows - p * kPanelRows));
    for (std::int64_t i = 0; i < x.rows; i += kTileTokens) {
      const std::int64_t t = std::min(i, x.rows - kTileTokens);
      multiply_tile<kHalves, kHasMin>(blocks, x.row(t), w.cols / kBlock,
                                      y + p * kPanelRows + t * y_stride, y_stride, rows);
    }
  }
  _tile_release();
}
