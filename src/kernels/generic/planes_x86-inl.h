// A Q8_0 output layer in two planes (kernels/planes.h) on x86: its ordinary panels, their products, and the sums of each
// plane. Included by each instruction set's table after products_x86-inl.h. No include guard on purpose.

// The eight groups of a part of block `b`, as stored for Q8_0.
[[gnu::always_inline]] inline void unpack_planes(const PlanesPanel& planes,
                                                 std::int64_t b,
                                                 int part,
                                                 Ints w[8]) {
  const Ints low4 = Reg::bytes(15);
  const std::int64_t stride = planes.blocks * 4 * kLowBlockBytes;  // of groups of 4 rows
  Ints words[4];
  load_words(planes.low + b * 4 * kLowBlockBytes + part * Reg::kRows / 4 * stride, stride, words);
  for (int v = 0; v < 4; ++v) {
    const Ints upper = Reg::load(planes.high + b * 256 + v * 64 + part * kPartBytes);
    w[v] = or_masked(shift_bits<0, 4>(upper & low4), words[v], low4);
    w[v + 4] = or_masked(upper & ~low4, shift_bits<4, 0>(words[v]), low4);
  }
}

// The ordinary Q8_0 panel of both planes.
const std::byte* merge_panel(const PackedMatrix& w, std::int64_t panel, std::byte* out) {
  const PlanesPanel planes(w, panel);
  for (std::int64_t b = 0; b < planes.blocks; ++b) {
    planes.prefetch(b);
    std::byte* unit = out + b * kMergedBlockBytes;
    std::memcpy(unit, planes.scales + b * 32, 32);
    for (int part = 0; part < kParts; ++part) {
      Ints codes[8];
      unpack_planes(planes, b, part, codes);
      for (int g = 0; g < 8; ++g) {
        Reg::store(unit + 32 + g * 64 + part * kPartBytes, codes[g]);
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
  Floats acc[kParts][kTokens];
  clear_tile(acc);
  for (std::int64_t b = 0; b < planes.blocks; ++b) {
    planes.prefetch(b);
    for (int part = 0; part < kParts; ++part) {
      Ints w[8];
      unpack_planes(planes, b, part, w);
      if constexpr (kSignedCodes<kType>) {
        for (Ints& group : w) {
          group ^= Reg::bytes(0x80);
        }
      }
      BlockScales s;
      s.scale = Reg::load_halves(planes.scales + b * 32 + part * Reg::kRows * 2);
      add_to_tile<kType, kTokens>(w, s, x.row(0) + b, planes.blocks, acc[part]);
    }
  }
  store_tile(acc, y, y_stride, rows);
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
  Floats dots[2][kParts];
  for (int part = 0; part < kParts; ++part) {
    Ints w[8];
    unpack<DType::kQ4_0>(nibbles + part * kPartBytes, w);
    for (std::int64_t t = 0; t < 2; ++t) {
      const CodeBlock& token = x.row(t)[b];
      Ints sum = Reg::set1(0);
      dot_groups<DType::kQ4_0, 8, 1>(w, &token, 0, 0, &sum);
      const Ints bias = Reg::set1(241 * (token.half_sum(0) + token.half_sum(1)));
      dots[t][part] = Reg::to_floats(Reg::sub(Reg::shift_left<5>(sum), bias));
    }
  }
  out[0] = Reg::join<V>(dots[0]);
  out[1] = Reg::join<V>(dots[1]);
}

// One row of the low plane, with AVX2.
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
