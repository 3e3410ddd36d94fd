// What AVX-512 reads of a packed panel: the codes of a block, one register a group of 4 columns, and its scales, 16 rows wide.
// Shared by the tables that have 512-bit registers. Included in a namespace of such a target, after <immintrin.h> and
// kernels/packed_layout.h. No include guard on purpose.

using tensor::DType;

inline __m512i load64(const std::byte* p) {
  return _mm512_loadu_si512(p);
}

inline __m128i load16(const std::byte* p) {
  return _mm_loadu_si128(reinterpret_cast<const __m128i*>(p));
}

inline __m512 halves(const std::byte* p) {
  return _mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)));
}

// The lanes of a panel's rows that exist.
inline __mmask16 mask_of(std::int64_t rows) {
  return static_cast<__mmask16>((1U << rows) - 1U);
}

// a | (b & mask)
inline __m512i or_masked(__m512i a, __m512i b, __m512i mask) {
  return _mm512_ternarylogic_epi64(a, b, mask, 0xf8);
}

// a where the mask has ones, else b.
inline __m512i where(__m512i mask, __m512i a, __m512i b) {
  return _mm512_ternarylogic_epi64(a, b, mask, 0xe4);
}

// Shifts that move bit or pair `from` of each byte to bit `to`; stray bits are masked off by the caller.
template <int from, int to>
__m512i shift_bits(__m512i x) {
  if constexpr (from < to) {
    return _mm512_slli_epi16(x, to - from);
  } else {
    return _mm512_srli_epi16(x, from - to);
  }
}

// The eight groups of a block as unsigned codes.
template <DType type>
[[gnu::always_inline]] inline void unpack(const std::byte* block, __m512i w[8]) {
  using enum DType;
  if constexpr (type == kQ8_0) {
    for (int g = 0; g < 8; ++g) {
      w[g] = load64(block + g * 64);
    }
    return;
  }
  if constexpr (type == kQ5_0 || type == kQ5_1 || type == kQ5_K) {
    const __m512i low3 = _mm512_set1_epi8(7);
    const __m512i low5 = _mm512_set1_epi8(31);
    __m512i fives[5];
    for (int v = 0; v < 5; ++v) {
      fives[v] = load64(block + v * 64);
      w[v] = _mm512_and_si512(fives[v], low5);
    }
    w[5] =
        _mm512_and_si512(where(low3, shift_bits<5, 0>(fives[0]), shift_bits<5, 3>(fives[1])), low5);
    w[6] =
        _mm512_and_si512(where(low3, shift_bits<5, 0>(fives[2]), shift_bits<5, 3>(fives[3])), low5);
    const __m512i low = where(low3, shift_bits<5, 0>(fives[4]), shift_bits<7, 3>(fives[1]));
    w[7] = _mm512_and_si512(where(_mm512_set1_epi8(15), low, shift_bits<7, 4>(fives[3])), low5);
    return;
  }
  if constexpr (type == kQ6_K) {
    const __m512i low6 = _mm512_set1_epi8(63);
    __m512i sixes[6];
    for (int v = 0; v < 6; ++v) {
      sixes[v] = load64(block + v * 64);
      w[v] = _mm512_and_si512(sixes[v], low6);
    }
    for (int g = 6; g < 8; ++g) {
      const __m512i* from = sixes + (g - 6) * 3;
      const __m512i low =
          where(_mm512_set1_epi8(3), shift_bits<6, 0>(from[0]), shift_bits<6, 2>(from[1]));
      w[g] = _mm512_and_si512(where(_mm512_set1_epi8(15), low, shift_bits<6, 4>(from[2])), low6);
    }
    return;
  }
  if constexpr (type == kQ2_K || type == kQ3_K) {
    const __m512i low2 = _mm512_set1_epi8(3);
    for (int u = 0; u < 2; ++u) {
      const __m512i pairs = load64(block + u * 64);
      w[4 * u] = _mm512_and_si512(pairs, low2);
      w[4 * u + 1] = _mm512_and_si512(_mm512_srli_epi16(pairs, 2), low2);
      w[4 * u + 2] = _mm512_and_si512(_mm512_srli_epi16(pairs, 4), low2);
      w[4 * u + 3] = _mm512_and_si512(_mm512_srli_epi16(pairs, 6), low2);
    }
  } else {
    const __m512i low4 = _mm512_set1_epi8(15);
    for (int v = 0; v < 4; ++v) {
      const __m512i nibbles = load64(block + v * 64);
      w[v] = _mm512_and_si512(nibbles, low4);
      w[v + 4] = _mm512_and_si512(_mm512_srli_epi16(nibbles, 4), low4);
    }
  }
  if constexpr (type == kQ3_K) {
    constexpr int kTo = 2;
    const __m512i bits = load64(block + kPairs);
    const __m512i mask = _mm512_set1_epi8(1 << kTo);
    w[0] = or_masked(w[0], shift_bits<0, kTo>(bits), mask);
    w[1] = or_masked(w[1], shift_bits<1, kTo>(bits), mask);
    w[2] = or_masked(w[2], shift_bits<2, kTo>(bits), mask);
    w[3] = or_masked(w[3], shift_bits<3, kTo>(bits), mask);
    w[4] = or_masked(w[4], shift_bits<4, kTo>(bits), mask);
    w[5] = or_masked(w[5], shift_bits<5, kTo>(bits), mask);
    w[6] = or_masked(w[6], shift_bits<6, kTo>(bits), mask);
    w[7] = or_masked(w[7], shift_bits<7, kTo>(bits), mask);
  }
  if constexpr (type == kIQ4_NL || type == kIQ4_XS) {
    const __m512i codes =
        _mm512_broadcast_i32x4(_mm_loadu_si128(reinterpret_cast<const __m128i*>(kIq4Codes)));
    for (int g = 0; g < 8; ++g) {
      w[g] = _mm512_shuffle_epi8(codes, w[g]);
    }
  }
}

// Put together for all blocks of a unit at once, in bytes: less than half the work of each block's in 32 bits.
template <DType type>
[[gnu::always_inline]] inline void read_sub_scales(const std::byte* unit, SubScales& out) {
  constexpr PackedLayout kL = kLayout<type>;
  const __m512i low4 = _mm512_set1_epi8(15);
  const __m512i upper2 = _mm512_set1_epi8(0x30);
  const __m512i high = load64(unit + kL.high);  // lane i: of blocks 2i and 2i + 1
  const __m512i shifts = _mm512_setr_epi32(0, 0, 0, 0, 4, 4, 4, 4, 0, 0, 0, 0, 4, 4, 4, 4);
  for (int v = 0; v < 2; ++v) {
    const __m512i low = load64(unit + kL.low + v * 64);
    const __m512i pairs =
        v == 0 ? _mm512_shuffle_i32x4(high, high, 0x50) : _mm512_shuffle_i32x4(high, high, 0xfa);
    const __m512i bits = _mm512_srlv_epi32(pairs, shifts);
    const __m512i scale = _mm512_and_si512(_mm512_slli_epi16(bits, 4), upper2);
    const __m512i min = _mm512_and_si512(_mm512_slli_epi16(bits, 2), upper2);
    _mm512_store_si512(out.scale[4 * v], or_masked(scale, low, low4));
    _mm512_store_si512(out.min[4 * v], or_masked(min, _mm512_srli_epi16(low, 4), low4));
  }
}

// What turns a block's integer sums into floats, 16 rows wide.
struct BlockScales {
  __m512 scale;        // of the integer sum
  __m512 min;          // added times the activation sum (32-column scales)
  __m512 half[2];      // integer scales of half blocks
  __m512 half_min[2];  // integer minima of half blocks over 32: times CodeBlock::half_starts (Q2_K)
};

inline __m512i widen_bytes(__m128i bytes) {
  return _mm512_cvtepu8_epi32(bytes);
}

template <DType type>
[[gnu::always_inline]] inline BlockScales block_scales(
    const std::byte* unit, const SubScales& sub, int b, int /*row: 0*/, __m512 d, __m512 dmin) {
  constexpr PackedLayout kL = kLayout<type>;
  const auto low = [&](int i) { return widen_bytes(load16(unit + kL.low + i * 16)); };
  const auto high = [&](int i) { return widen_bytes(load16(unit + kL.high + i * 16)); };
  const __m512i c15 = _mm512_set1_epi32(15);
  const __m512i c3 = _mm512_set1_epi32(3);
  BlockScales s{};
  s.scale = d;
  using enum DType;
  if constexpr (type == kQ4_1 || type == kQ5_1) {
    s.min = dmin;
  } else if constexpr (type == kQ4_K || type == kQ5_K) {
    const auto widened = [](const std::uint8_t* bytes) {
      return _mm512_cvtepi32_ps(widen_bytes(load16(reinterpret_cast<const std::byte*>(bytes))));
    };
    s.scale = _mm512_mul_ps(d, widened(sub.scale[b]));
    s.min = _mm512_mul_ps(_mm512_sub_ps(_mm512_set1_ps(-0.0F), dmin), widened(sub.min[b]));
  } else if constexpr (type == kQ6_K) {
    for (int h = 0; h < 2; ++h) {
      s.half[h] =
          _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(load16(unit + kL.low + (2 * b + h) * 16)));
    }
  } else if constexpr (type == kQ2_K) {
    for (int h = 0; h < 2; ++h) {
      const __m512i lo = low(2 * b + h);
      s.half[h] = _mm512_cvtepi32_ps(_mm512_and_si512(lo, c15));
      s.half_min[h] =
          _mm512_mul_ps(_mm512_cvtepi32_ps(_mm512_srli_epi32(lo, 4)), _mm512_set1_ps(1.0F / 32));
    }
    s.min = dmin;
  } else if constexpr (type == kQ3_K) {
    for (int h = 0; h < 2; ++h) {
      const __m512i lo = _mm512_and_si512(_mm512_srl_epi32(low(b), _mm_cvtsi32_si128(4 * h)), c15);
      const __m512i hi = _mm512_and_si512(
          _mm512_srl_epi32(high((2 * b + h) / 4), _mm_cvtsi32_si128((2 * b + h) % 4 * 2)), c3);
      s.half[h] = _mm512_cvtepi32_ps(
          _mm512_sub_epi32(_mm512_or_si512(lo, _mm512_slli_epi32(hi, 4)), _mm512_set1_epi32(32)));
    }
  } else if constexpr (type == kIQ4_XS) {
    const __m512i lo =
        _mm512_and_si512(_mm512_srl_epi32(low(b / 2), _mm_cvtsi32_si128(b % 2 * 4)), c15);
    const __m512i hi =
        _mm512_and_si512(_mm512_srl_epi32(high(b / 4), _mm_cvtsi32_si128(b % 4 * 2)), c3);
    const __m512i scale =
        _mm512_sub_epi32(_mm512_or_si512(lo, _mm512_slli_epi32(hi, 4)), _mm512_set1_epi32(32));
    s.scale = _mm512_mul_ps(d, _mm512_cvtepi32_ps(scale));
  }
  return s;
}
