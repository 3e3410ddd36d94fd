// Rows of activations as codes, four blocks at a time in AVX2 vectors: generic/quantize-inl.h's results, field by field.
// For all x86 tables. One block after the other, their records were put together in integer registers and took 1.8 times
// as long.

// The 32 codes of a block; the argument is its 4 vectors of 8 values.
inline __m256i codes_of(const __m256 x[4], __m256 inverse) {
  __m256i words[4];
  for (int i = 0; i < 4; ++i) {
    words[i] = _mm256_cvtps_epi32(_mm256_mul_ps(x[i], inverse));
  }
  const __m256i bytes = _mm256_packs_epi16(_mm256_packs_epi32(words[0], words[1]),
                                           _mm256_packs_epi32(words[2], words[3]));
  const __m256i codes = _mm256_max_epi8(bytes, _mm256_set1_epi8(-127));
  return _mm256_permutevar8x32_epi32(codes, _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7));
}

// The largest of 8 lanes of each of 4 vectors, in the order of V::highest(): what is not a number comes out the same.
inline __m128 highest_of(const __m256 v[4]) {
  const auto halves = [](__m256 a, __m256 b) {
    return _mm256_max_ps(_mm256_permute2f128_ps(a, b, 0x20), _mm256_permute2f128_ps(a, b, 0x31));
  };
  const __m256d even = _mm256_castps_pd(halves(v[0], v[2]));  // 4 lanes of either
  const __m256d odd = _mm256_castps_pd(halves(v[1], v[3]));
  const __m256 pairs = _mm256_max_ps(_mm256_castpd_ps(_mm256_unpacklo_pd(even, odd)),
                                     _mm256_castpd_ps(_mm256_unpackhi_pd(even, odd)));
  const __m128 low = _mm256_castps256_ps128(pairs);
  const __m128 high = _mm256_extractf128_ps(pairs, 1);
  return _mm_max_ps(_mm_shuffle_ps(low, high, 0x88), _mm_shuffle_ps(low, high, 0xdd));
}

// The sums of 4 blocks' first halves, then of their second halves.
inline __m256i half_sums_of(const __m256i codes[4]) {
  const __m256i ones = _mm256_set1_epi16(1);
  __m256i sums[4];  // of 4 codes each
  for (int i = 0; i < 4; ++i) {
    sums[i] = _mm256_madd_epi16(_mm256_maddubs_epi16(_mm256_set1_epi8(1), codes[i]), ones);
  }
  const __m256i first = _mm256_madd_epi16(_mm256_packs_epi32(sums[0], sums[1]), ones);
  const __m256i second = _mm256_madd_epi16(_mm256_packs_epi32(sums[2], sums[3]), ones);
  return _mm256_madd_epi16(_mm256_packs_epi32(first, second), ones);
}

// All fields after the codes of 4 blocks.
inline void store_fields(__m128 scale, __m256i half_sums, CodeBlock out[4]) {
  static_assert(offsetof(CodeBlock, sum) == offsetof(CodeBlock, scale) + 4 &&
                offsetof(CodeBlock, float_start) == offsetof(CodeBlock, scale) + 8 &&
                offsetof(CodeBlock, start) == offsetof(CodeBlock, scale) + 12 &&
                offsetof(CodeBlock, half_starts) == offsetof(CodeBlock, scale) + 16);
  const __m128i zero = _mm_setzero_si128();
  const __m128i half0 = _mm256_castsi256_si128(half_sums);
  const __m128i half1 = _mm256_extracti128_si256(half_sums, 1);
  const __m128i both = _mm_add_epi32(half0, half1);
  const __m128 sum = _mm_mul_ps(scale, _mm_cvtepi32_ps(both));
  const __m128i start = _mm_sub_epi32(zero, _mm_slli_epi32(both, 4));
  const __m128i start0 = _mm_sub_epi32(zero, _mm_slli_epi32(half0, 5));
  const __m128i float_start = _mm_add_epi32(_mm_castps_si128(_mm_set1_ps(kFloatBase)), start0);
  const __m128i start1 = _mm_sub_epi32(zero, _mm_slli_epi32(half1, 5));
  const __m128i floats01 = _mm_castps_si128(_mm_unpacklo_ps(scale, sum));
  const __m128i floats23 = _mm_castps_si128(_mm_unpackhi_ps(scale, sum));
  const __m128i ints01 = _mm_unpacklo_epi32(float_start, start);
  const __m128i ints23 = _mm_unpackhi_epi32(float_start, start);
  const __m128i starts01 = _mm_unpacklo_epi32(start0, start1);
  const __m128i starts23 = _mm_unpackhi_epi32(start0, start1);
  const auto store = [](CodeBlock& block, __m128i fields, __m128i starts) {
    _mm_storeu_si128(reinterpret_cast<__m128i*>(&block.scale), fields);
    _mm_storel_epi64(reinterpret_cast<__m128i*>(block.half_starts), starts);
  };
  store(out[0], _mm_unpacklo_epi64(floats01, ints01), starts01);
  store(out[1], _mm_unpackhi_epi64(floats01, ints01), _mm_unpackhi_epi64(starts01, starts01));
  store(out[2], _mm_unpacklo_epi64(floats23, ints23), starts23);
  store(out[3], _mm_unpackhi_epi64(floats23, ints23), _mm_unpackhi_epi64(starts23, starts23));
}

inline void quantize_four(const float* x, CodeBlock out[4]) {
  const __m256 sign = _mm256_set1_ps(-0.0F);
  __m256 values[4][4];
  __m256 largest[4];
  for (int b = 0; b < 4; ++b) {
    __m256 sizes[4];
    for (int i = 0; i < 4; ++i) {
      values[b][i] = _mm256_loadu_ps(x + b * kBlock + i * 8);
      sizes[i] = _mm256_andnot_ps(sign, values[b][i]);
    }
    largest[b] =
        _mm256_max_ps(_mm256_max_ps(sizes[0], sizes[2]), _mm256_max_ps(sizes[1], sizes[3]));
  }
  const __m128 highest = highest_of(largest);
  const __m128 most = _mm_set1_ps(127.0F);
  const __m128 inverse =
      _mm_and_ps(_mm_cmp_ps(highest, _mm_setzero_ps(), _CMP_GT_OQ), _mm_div_ps(most, highest));
  float inverses[4];
  _mm_storeu_ps(inverses, inverse);
  __m256i codes[4];
  for (int b = 0; b < 4; ++b) {
    codes[b] = codes_of(values[b], _mm256_broadcast_ss(inverses + b));
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(out[b].codes), codes[b]);
  }
  store_fields(_mm_div_ps(highest, most), half_sums_of(codes), out);
}

inline void quantize_row(const float* x, std::int64_t cols, CodeBlock* out) {
  const std::int64_t blocks = cols / kBlock;
  if (blocks < 4) {
    float padded[4 * kBlock] = {};
    CodeBlock whole[4];
    std::copy_n(x, cols, padded);
    quantize_four(padded, whole);
    std::copy_n(whole, blocks, out);
    return;
  }
  for (std::int64_t b = 0; b < blocks; b += 4) {
    const std::int64_t at = std::min(b, blocks - 4);  // the last four, some of them once more
    quantize_four(x + at * kBlock, out + at);
  }
}
