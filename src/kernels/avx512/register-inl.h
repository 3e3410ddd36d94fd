// A register of a panel's 16 rows, and of 4 columns where it holds codes: what avx2/register-inl.h has for 8. Included by
// table.cc after panels-inl.h.

struct Reg {
  using Floats = __m512;
  using Ints = __m512i;
  static constexpr int kRows = 16;

  static Floats load(const float* p) { return _mm512_loadu_ps(p); }

  static Floats set1(float x) { return _mm512_set1_ps(x); }

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

  static V join(const Floats parts[1]) { return {parts[0]}; }

  static Ints load(const std::byte* p) { return _mm512_loadu_si512(p); }

  static Ints set1(std::int32_t x) { return _mm512_set1_epi32(x); }

  static Ints bytes(int x) { return _mm512_set1_epi8(static_cast<char>(x)); }

  static Ints sub(Ints a, Ints b) { return _mm512_sub_epi32(a, b); }

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
