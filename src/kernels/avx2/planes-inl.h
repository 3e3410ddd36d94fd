// A Q8_0 output layer in two planes (kernels/planes.h): its ordinary panels, and the sums of its high plane. Included by the
// tables of avx2/ and avxvnni/ after products-inl.h.

// The words of a block of 8 rows, from the first of two groups of the low plane that are `stride` bytes apart: vector v has
// word v of each row.
inline void load_words(const std::byte* groups, std::int64_t stride, __m256i words[4]) {
  for (int i = 0; i < 2; ++i) {
    const __m256i first = load32(groups + 32 * i);
    const __m256i second = load32(groups + stride + 32 * i);
    words[2 * i] = _mm256_permute2x128_si256(first, second, 0x20);
    words[2 * i + 1] = _mm256_permute2x128_si256(first, second, 0x31);
  }
}

// The eight groups of 8 rows of block `b`, as stored for Q8_0.
[[gnu::always_inline]] inline void unpack_planes(const PlanesPanel& planes,
                                                 std::int64_t b,
                                                 int half,
                                                 __m256i w[8]) {
  const __m256i low4 = _mm256_set1_epi8(15);
  const std::int64_t stride = planes.blocks * 4 * kLowBlockBytes;  // of groups of 4 rows
  __m256i words[4];
  load_words(planes.low + b * 4 * kLowBlockBytes + half * 2 * stride, stride, words);
  for (int v = 0; v < 4; ++v) {
    const __m256i upper = load32(planes.high + b * 256 + v * 64 + half * 32);
    const __m256i first = _mm256_slli_epi16(_mm256_and_si256(upper, low4), 4);
    const __m256i second = _mm256_andnot_si256(low4, upper);
    w[v] = or_masked(first, words[v], low4);
    w[v + 4] = or_masked(second, _mm256_srli_epi16(words[v], 4), low4);
  }
}

// The ordinary Q8_0 panel of both planes.
const std::byte* merge_panel(const PackedMatrix& w, std::int64_t panel, std::byte* out) {
  const PlanesPanel planes(w, panel);
  for (std::int64_t b = 0; b < planes.blocks; ++b) {
    planes.prefetch(b);
    std::byte* unit = out + b * kMergedBlockBytes;
    std::memcpy(unit, planes.scales + b * 32, 32);
    for (int half = 0; half < 2; ++half) {
      __m256i codes[8];
      unpack_planes(planes, b, half, codes);
      for (int g = 0; g < 8; ++g) {
        _mm256_storeu_si256(reinterpret_cast<__m256i*>(unit + 32 + g * 64 + half * 32), codes[g]);
      }
    }
  }
  return out;
}

template <int kTokens>
void planes_tokens(const PlanesPanel& planes,
                   const Activations& x,
                   float* y,
                   std::int64_t y_stride,
                   std::int64_t rows) {
  constexpr DType kType = DType::kQ8_0;
  __m256 acc[2][kTokens];
  for (auto& half : acc) {
    for (auto& a : half) {
      a = _mm256_setzero_ps();
    }
  }
  for (std::int64_t b = 0; b < planes.blocks; ++b) {
    planes.prefetch(b);
    for (int half = 0; half < 2; ++half) {
      __m256i w[8];
      unpack_planes(planes, b, half, w);
      for (__m256i& group : w) {
        group = centred<kType>(group);
      }
      BlockScales s;
      s.scale = halves(planes.scales + b * 32 + half * 16);
      add_to_tile<kType, kTokens>(w, s, x.row(0) + b, planes.blocks, acc[half]);
    }
  }
  for (int j = 0; j < kTokens; ++j) {
    store_rows(y + j * y_stride, acc[0][j], rows);
    store_rows(y + j * y_stride + 8, acc[1][j], rows - 8);
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
  with_tile_of(x.rows,
               [&]<int kTokens>() { planes_tokens<kTokens>(planes, x, y, y_stride, rows); });
  return true;
}

// Twice the sums of a block: (32 * high nibble + 15 - 256) * code, for the two rows of x.
inline void high_dots(const std::byte* nibbles, const Activations& x, std::int64_t b, V out[2]) {
  for (int half = 0; half < 2; ++half) {
    __m256i w[8];
    unpack<DType::kQ4_0>(nibbles, half, w);
    for (std::int64_t t = 0; t < 2; ++t) {
      const CodeBlock& token = x.row(t)[b];
      __m256i sum = _mm256_setzero_si256();
      dot_groups<DType::kQ4_0, 8, 1>(w, &token, 0, 0, &sum);
      const int bias = 241 * (token.half_sums[0] + token.half_sums[1]);
      const __m256 dot =
          _mm256_cvtepi32_ps(_mm256_sub_epi32(_mm256_slli_epi32(sum, 5), _mm256_set1_epi32(bias)));
      (half == 0 ? out[t].lo : out[t].hi) = dot;
    }
  }
}
