// A register of 8 of a panel's rows, and of 4 columns where it holds codes, for the texts that all of x86 shares
// (generic/*_x86-inl.h). Included by the tables of avx2/ and avxvnni/. No include guard on purpose.

struct Reg {
  using Floats = __m256;
  using Ints = __m256i;
  static constexpr int kRows = 8;

  static Floats load(const float* p) { return _mm256_loadu_ps(p); }

  static Floats set1(float x) { return _mm256_set1_ps(x); }

  static Floats sub(Floats a, Floats b) { return _mm256_sub_ps(a, b); }

  static Floats mul(Floats a, Floats b) { return _mm256_mul_ps(a, b); }

  static Floats fma(Floats a, Floats b, Floats c) { return _mm256_fmadd_ps(a, b, c); }

  static Ints bits_of(float x) { return _mm256_castps_si256(_mm256_set1_ps(x)); }

  static Floats as_floats(Ints bits) { return _mm256_castsi256_ps(bits); }

  static Floats to_floats(Ints x) { return _mm256_cvtepi32_ps(x); }

  static void store(float* p, Floats x) { _mm256_storeu_ps(p, x); }

  // The first `rows`, which may be none or more than 8. Masked stores are slow on AMD's, so only for what is left.
  static void store_rows(float* p, Floats x, std::int64_t rows) {
    if (rows >= 8) {
      store(p, x);
    } else if (rows > 0) {
      const Ints lanes = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
      _mm256_maskstore_ps(p, _mm256_cmpgt_epi32(set1(static_cast<std::int32_t>(rows)), lanes), x);
    }
  }

  static Floats load_rows(const float* p, std::int64_t rows) {
    if (rows >= 8) {
      return load(p);
    }
    const Ints lanes = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
    const auto first = static_cast<std::int32_t>(std::max<std::int64_t>(rows, 0));
    return _mm256_maskload_ps(p, _mm256_cmpgt_epi32(set1(first), lanes));
  }

  // A panel's rows from its parts.
  template <typename Vector>
  static Vector join(const Floats parts[2]) {
    return {parts[0], parts[1]};
  }

  static Floats load_halves(const std::byte* p) {
    return _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
  }

  static Ints load(const std::byte* p) {
    return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p));
  }

  static Ints set1(std::int32_t x) { return _mm256_set1_epi32(x); }

  static Ints bytes(int x) { return _mm256_set1_epi8(static_cast<char>(x)); }

  // A byte a row.
  static Ints widen(const std::byte* p) {
    return _mm256_cvtepu8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(p)));
  }

  static Ints widen_signed(const std::byte* p) {
    return _mm256_cvtepi8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(p)));
  }

  static Ints sub(Ints a, Ints b) { return _mm256_sub_epi32(a, b); }

  static Ints sub_bytes(Ints a, Ints b) { return _mm256_sub_epi8(a, b); }

  // table[x] of each byte, of 16.
  static Ints look_up(const std::uint8_t* table, Ints x) {
    const __m128i codes = _mm_loadu_si128(reinterpret_cast<const __m128i*>(table));
    return _mm256_shuffle_epi8(_mm256_broadcastsi128_si256(codes), x);
  }

  // 16 bytes at p twice, the second time 4 bits lower; stray bits are left at the bytes' ends.
  static Ints both_nibbles(const std::byte* p) {
    const __m128i bytes = _mm_loadu_si128(reinterpret_cast<const __m128i*>(p));
    return _mm256_srlv_epi32(_mm256_broadcastsi128_si256(bytes),
                             _mm256_setr_epi32(0, 0, 0, 0, 4, 4, 4, 4));
  }

  static Ints shift_down(Ints x, int bits) { return _mm256_srl_epi32(x, _mm_cvtsi32_si128(bits)); }

  template <int kBits>
  static Ints shift_left(Ints x) {
    return _mm256_slli_epi32(x, kBits);
  }

  template <int kBits>
  static Ints shift_right(Ints x) {
    return _mm256_srai_epi32(x, kBits);
  }

  static void store(std::byte* p, Ints x) { _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), x); }
};

// Shifts that move bit `from` of each byte to bit `to`, and what is above or below it; stray bits are masked off by the caller.
template <int from, int to>
inline __m256i shift_bits(__m256i x) {
  if constexpr (from < to) {
    return _mm256_slli_epi16(x, to - from);
  } else {
    return _mm256_srli_epi16(x, from - to);
  }
}

// a | (b & mask)
inline __m256i or_masked(__m256i a, __m256i b, __m256i mask) {
  return _mm256_or_si256(a, _mm256_and_si256(b, mask));
}

inline __m256i broadcast_codes(const std::int8_t* codes) {
  std::int32_t four;
  std::memcpy(&four, codes, 4);
  return _mm256_set1_epi32(four);
}

// The words of a block of 8 rows, from the first of two groups of the low plane that are `stride` bytes apart: vector v has
// word v of each row.
inline void load_words(const std::byte* groups, std::int64_t stride, __m256i words[4]) {
  for (int i = 0; i < 2; ++i) {
    const __m256i first = Reg::load(groups + 32 * i);
    const __m256i second = Reg::load(groups + stride + 32 * i);
    words[2 * i] = _mm256_permute2x128_si256(first, second, 0x20);
    words[2 * i + 1] = _mm256_permute2x128_si256(first, second, 0x31);
  }
}
