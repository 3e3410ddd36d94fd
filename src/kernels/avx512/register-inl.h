// A register of a panel's 16 rows, and of 4 columns where it holds codes: what avx2/register-inl.h has for 8. Shared by the tables
// that have 512-bit registers. No include guard on purpose.

// The lanes of a panel's rows that exist.
inline __mmask16 mask_of(std::int64_t rows) {
  return static_cast<__mmask16>((1U << rows) - 1U);
}

struct Reg {
  using Floats = __m512;
  using Ints = __m512i;
  static constexpr int kRows = 16;

  static Floats load(const float* p) { return _mm512_loadu_ps(p); }

  static Floats set1(float x) { return _mm512_set1_ps(x); }

  static Floats sub(Floats a, Floats b) { return _mm512_sub_ps(a, b); }

  static Floats mul(Floats a, Floats b) { return _mm512_mul_ps(a, b); }

  static Floats fma(Floats a, Floats b, Floats c) { return _mm512_fmadd_ps(a, b, c); }

  static Ints bits_of(float x) { return _mm512_castps_si512(_mm512_set1_ps(x)); }

  static Floats as_floats(Ints bits) { return _mm512_castsi512_ps(bits); }

  static Floats to_floats(Ints x) { return _mm512_cvtepi32_ps(x); }

  static void store(float* p, Floats x) { _mm512_storeu_ps(p, x); }

  static void store_rows(float* p, Floats x, std::int64_t rows) {
    _mm512_mask_storeu_ps(p, mask_of(rows), x);
  }

  static Floats load_rows(const float* p, std::int64_t rows) {
    return _mm512_maskz_loadu_ps(mask_of(rows), p);
  }

  template <typename Vector>
  static Vector join(const Floats parts[1]) {
    return {parts[0]};
  }

  static Floats load_halves(const std::byte* p) {
    return _mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)));
  }

  static Ints load(const std::byte* p) { return _mm512_loadu_si512(p); }

  static Ints set1(std::int32_t x) { return _mm512_set1_epi32(x); }

  static Ints bytes(int x) { return _mm512_set1_epi8(static_cast<char>(x)); }

  // A byte a row.
  static Ints widen(const std::byte* p) {
    return _mm512_cvtepu8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
  }

  static Ints widen_signed(const std::byte* p) {
    return _mm512_cvtepi8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
  }

  static Ints sub(Ints a, Ints b) { return _mm512_sub_epi32(a, b); }

  static Ints sub_bytes(Ints a, Ints b) { return _mm512_sub_epi8(a, b); }

  // table[x] of each byte, of 16.
  static Ints look_up(const std::uint8_t* table, Ints x) {
    const __m128i codes = _mm_loadu_si128(reinterpret_cast<const __m128i*>(table));
    return _mm512_shuffle_epi8(_mm512_broadcast_i32x4(codes), x);
  }

  // Each 16 of 32 bytes at p twice, the second time 4 bits lower; stray bits are left at the bytes' ends.
  static Ints both_nibbles(const std::byte* p) {
    const __m256i bytes = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p));
    const Ints twice = _mm512_permutexvar_epi64(_mm512_setr_epi64(0, 1, 0, 1, 2, 3, 2, 3),
                                                _mm512_castsi256_si512(bytes));
    return _mm512_srlv_epi32(twice,
                             _mm512_setr_epi32(0, 0, 0, 0, 4, 4, 4, 4, 0, 0, 0, 0, 4, 4, 4, 4));
  }

  static Ints shift_down(Ints x, int bits) { return _mm512_srl_epi32(x, _mm_cvtsi32_si128(bits)); }

  template <int kBits>
  static Ints shift_left(Ints x) {
    return _mm512_slli_epi32(x, kBits);
  }

  template <int kBits>
  static Ints shift_right(Ints x) {
    return _mm512_srai_epi32(x, kBits);
  }

  static void store(std::byte* p, Ints x) { _mm512_storeu_si512(p, x); }
};

// Shifts that move bit `from` of each byte to bit `to`, and what is above or below it; stray bits are masked off by the caller.
template <int from, int to>
inline __m512i shift_bits(__m512i x) {
  if constexpr (from < to) {
    return _mm512_slli_epi16(x, to - from);
  } else {
    return _mm512_srli_epi16(x, from - to);
  }
}

// a | (b & mask)
inline __m512i or_masked(__m512i a, __m512i b, __m512i mask) {
  return _mm512_ternarylogic_epi64(a, b, mask, 0xf8);
}

// The words of a block of 16 rows, from the first of four groups of the low plane that are `stride` bytes apart: vector v has
// word v of each row.
inline void load_words(const std::byte* groups, std::int64_t stride, __m512i words[4]) {
  const __m512i r0 = Reg::load(groups);
  const __m512i r1 = Reg::load(groups + stride);
  const __m512i r2 = Reg::load(groups + 2 * stride);
  const __m512i r3 = Reg::load(groups + 3 * stride);
  const __m512i first01 = _mm512_shuffle_i32x4(r0, r1, 0x44);
  const __m512i first23 = _mm512_shuffle_i32x4(r2, r3, 0x44);
  const __m512i last01 = _mm512_shuffle_i32x4(r0, r1, 0xee);
  const __m512i last23 = _mm512_shuffle_i32x4(r2, r3, 0xee);
  words[0] = _mm512_shuffle_i32x4(first01, first23, 0x88);
  words[1] = _mm512_shuffle_i32x4(first01, first23, 0xdd);
  words[2] = _mm512_shuffle_i32x4(last01, last23, 0x88);
  words[3] = _mm512_shuffle_i32x4(last01, last23, 0xdd);
}
