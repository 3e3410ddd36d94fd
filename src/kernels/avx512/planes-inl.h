// A matrix in two planes (kernels/planes.h): its ordinary panels, and the sums of its high plane. Included by table.cc.

// The words of a block of 16 rows, from the first of four groups of the low plane that are `stride` bytes apart: vector v has
// word v of each row.
inline void load_words(const std::byte* groups, std::int64_t stride, __m512i words[4]) {
  const __m512i r0 = load64(groups);
  const __m512i r1 = load64(groups + stride);
  const __m512i r2 = load64(groups + 2 * stride);
  const __m512i r3 = load64(groups + 3 * stride);
  const __m512i first01 = _mm512_shuffle_i32x4(r0, r1, 0x44);
  const __m512i first23 = _mm512_shuffle_i32x4(r2, r3, 0x44);
  const __m512i last01 = _mm512_shuffle_i32x4(r0, r1, 0xee);
  const __m512i last23 = _mm512_shuffle_i32x4(r2, r3, 0xee);
  words[0] = _mm512_shuffle_i32x4(first01, first23, 0x88);
  words[1] = _mm512_shuffle_i32x4(first01, first23, 0xdd);
  words[2] = _mm512_shuffle_i32x4(last01, last23, 0x88);
  words[3] = _mm512_shuffle_i32x4(last01, last23, 0xdd);
}

// The eight groups of block `b`, as of Q8_0.
[[gnu::always_inline]] inline void unpack_planes(const PlanesPanel& planes,
                                                 std::int64_t b,
                                                 __m512i w[8]) {
  const __m512i low4 = _mm512_set1_epi8(15);
  __m512i words[4];
  load_words(planes.low + b * 4 * kLowBlockBytes, planes.blocks * 4 * kLowBlockBytes, words);
  for (int v = 0; v < 4; ++v) {
    const __m512i upper = load64(planes.high + b * 256 + v * 64);
    const __m512i first = _mm512_slli_epi16(_mm512_and_si512(upper, low4), 4);
    const __m512i second = _mm512_andnot_si512(low4, upper);
    w[v] = or_masked(first, words[v], low4);
    w[v + 4] = or_masked(second, _mm512_srli_epi16(words[v], 4), low4);
  }
}

// The ordinary Q8_0 panel of both planes.
const std::byte* merge_panel(const PackedMatrix& w, std::int64_t panel, std::byte* out) {
  const PlanesPanel planes(w, panel);
  for (std::int64_t b = 0; b < planes.blocks; ++b) {
    planes.prefetch(b);
    std::byte* unit = out + b * kMergedBlockBytes;
    std::memcpy(unit, planes.scales + b * 32, 32);
    __m512i codes[8];
    unpack_planes(planes, b, codes);
    for (int g = 0; g < 8; ++g) {
      _mm512_storeu_si512(unit + 32 + g * 64, codes[g]);
    }
  }
  return out;
}

template <int kTokens>
void planes_tokens(const PlanesPanel& planes,
                   const Activations& x,
                   float* y,
                   std::int64_t y_stride,
                   __mmask16 rows) {
  __m512 acc[kTokens];
  for (auto& a : acc) {
    a = _mm512_setzero_ps();
  }
  for (std::int64_t b = 0; b < planes.blocks; ++b) {
    planes.prefetch(b);
    __m512i w[8];
    unpack_planes(planes, b, w);
    BlockScales s;
    s.scale = halves(planes.scales + b * 32);
    add_to_tile<DType::kQ8_0, kTokens>(w, s, x.row(0) + b, planes.blocks, acc);
  }
  for (int j = 0; j < kTokens; ++j) {
    _mm512_mask_storeu_ps(y + j * y_stride, rows, acc[j]);
  }
}

// The product of a panel in two planes, where one tile holds all tokens: nothing is written between reading the planes and
// multiplying them, so that memory is read all the while.
bool multiply_planes(const PackedMatrix& w,
                     std::int64_t panel,
                     const Activations& x,
                     float* y,
                     std::int64_t y_stride,
                     std::int64_t rows) {
  if (x.rows > kMostTokens) {
    return false;
  }
  const PlanesPanel planes(w, panel);
  with_tile_of(x.rows, [&]<int kTokens>() {
    planes_tokens<kTokens>(planes, x, y, y_stride, mask_of(rows));
  });
  return true;
}

// Twice the sums of a block: (32 * high nibble + 15 - 256) * code, for the two rows of x.
inline void high_dots(const std::byte* nibbles, const Activations& x, std::int64_t b, V out[2]) {
  __m512i w[8];
  unpack<DType::kQ4_0>(nibbles, w);
  for (std::int64_t t = 0; t < 2; ++t) {
    const CodeBlock& token = x.row(t)[b];
    __m512i sum = _mm512_setzero_si512();
    for (int g = 0; g < 8; ++g) {
      sum = _mm512_dpbusd_epi32(sum, w[g], broadcast_codes(token.codes + 4 * g));
    }
    const int bias = 241 * (token.half_sums[0] + token.half_sums[1]);
    sum = _mm512_sub_epi32(_mm512_slli_epi32(sum, 5), _mm512_set1_epi32(bias));
    out[t].v = _mm512_cvtepi32_ps(sum);
  }
}
