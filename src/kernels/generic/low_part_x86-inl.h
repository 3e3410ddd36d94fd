// One row of the low plane with AVX2, for both x86 tables.
inline float low_part(const PackedMatrix& w, std::int64_t row, const Activations& x) {
  const std::int64_t blocks = w.cols / kBlock;
  const std::byte* scales = w.data + row / kPanelRows * high_panel_bytes(w.cols);
  const auto word = [&](std::int64_t b, std::int64_t index) {
    std::int32_t four;
    std::memcpy(&four, w.low + low_word_offset(row, b, index, blocks), 4);
    return four;
  };
  const __m256i low4 = _mm256_set1_epi8(15);
  const __m256i one = _mm256_set1_epi16(1);
  __m256 dots[2] = {_mm256_setzero_ps(), _mm256_setzero_ps()};
  float middle = 0.0F;
  for (std::int64_t b = 0; b < blocks; ++b) {
    const __m128i both = _mm_setr_epi32(word(b, 0), word(b, 1), word(b, 2), word(b, 3));
    const __m256i nibbles = _mm256_and_si256(_mm256_set_m128i(_mm_srli_epi16(both, 4), both), low4);
    std::uint16_t half;
    std::memcpy(&half, scales + b * 32 + row % kPanelRows * 2, 2);
    const float d = _cvtsh_ss(half);
    for (std::int64_t t = 0; t < 2; ++t) {
      const CodeBlock& token = x.row(t)[b];
      const __m256i codes = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(token.codes));
      const __m256i sums = _mm256_madd_epi16(_mm256_maddubs_epi16(nibbles, codes), one);
      dots[t] = _mm256_fmadd_ps(_mm256_cvtepi32_ps(sums), _mm256_set1_ps(d * token.scale), dots[t]);
    }
    middle = std::fma(d, x.row(0)[b].sum + x.row(1)[b].sum, middle);
  }
  const __m256 both = _mm256_add_ps(dots[0], dots[1]);
  __m128 sum = _mm_add_ps(_mm256_castps256_ps128(both), _mm256_extractf128_ps(both, 1));
  sum = _mm_add_ps(sum, _mm_movehl_ps(sum, sum));
  sum = _mm_add_ss(sum, _mm_shuffle_ps(sum, sum, 1));
  return _mm_cvtss_f32(sum) - 7.5F * middle;
}
