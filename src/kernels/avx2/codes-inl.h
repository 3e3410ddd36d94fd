// Weight codes and scales of half a panel: 8 rows x 4 columns in a register, 8 such groups a block. Included by the tables of
// avx2/ and avxvnni/ after
//   kSignedCodes<type>   whether a type's codes are unpacked without their bias

__m256i load32(const std::byte* p) {
  return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p));
}

__m256i load8(const std::byte* p) {
  return _mm256_cvtepu8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(p)));
}

__m256 halves(const std::byte* p) {
  return _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
}

template <int from, int to>
__m256i shift_bits(__m256i x) {
  if constexpr (from < to) {
    return _mm256_slli_epi16(x, to - from);
  } else {
    return _mm256_srli_epi16(x, from - to);
  }
}

__m256i or_masked(__m256i a, __m256i b, __m256i mask) {
  return _mm256_or_si256(a, _mm256_and_si256(b, mask));
}

// 8-bit codes without their bias of 128 where those are wanted.
template <DType type>
__m256i centred(__m256i codes) {
  return kSignedCodes<type> ? _mm256_xor_si256(codes, _mm256_set1_epi8(static_cast<char>(0x80)))
                            : codes;
}

// The eight groups of a block, of 8 rows from where `block` points; as unsigned codes unless kSignedCodes.
template <DType type>
[[gnu::always_inline]] inline void unpack(const std::byte* block, __m256i w[8]) {
  using enum DType;
  if constexpr (type == kQ8_0) {
    for (int g = 0; g < 8; ++g) {
      w[g] = centred<type>(load32(block + g * 64));
    }
    return;
  }
  if constexpr (type == kQ5_0 || type == kQ5_1 || type == kQ5_K) {
    const __m256i low3 = _mm256_set1_epi8(7);
    const __m256i next2 = _mm256_set1_epi8(0x18);
    __m256i fives[5];
    for (int v = 0; v < 5; ++v) {
      fives[v] = load32(block + v * 64);
      w[v] = _mm256_and_si256(fives[v], _mm256_set1_epi8(31));
    }
    const auto high3 = [&](int v) { return _mm256_and_si256(shift_bits<5, 0>(fives[v]), low3); };
    w[5] = or_masked(high3(0), shift_bits<5, 3>(fives[1]), next2);
    w[6] = or_masked(high3(2), shift_bits<5, 3>(fives[3]), next2);
    const __m256i fourth = or_masked(high3(4), shift_bits<7, 3>(fives[1]), _mm256_set1_epi8(8));
    w[7] = or_masked(fourth, shift_bits<7, 4>(fives[3]), _mm256_set1_epi8(16));
    return;
  }
  if constexpr (type == kQ6_K) {
    const __m256i low6 = _mm256_set1_epi8(63);
    __m256i sixes[6];
    for (int v = 0; v < 6; ++v) {
      sixes[v] = load32(block + v * 64);
      w[v] = _mm256_and_si256(sixes[v], low6);
    }
    for (int g = 6; g < 8; ++g) {
      const __m256i* from = sixes + (g - 6) * 3;
      const __m256i first = _mm256_and_si256(shift_bits<6, 0>(from[0]), _mm256_set1_epi8(3));
      const __m256i both = or_masked(first, shift_bits<6, 2>(from[1]), _mm256_set1_epi8(0x0c));
      w[g] = or_masked(both, shift_bits<6, 4>(from[2]), _mm256_set1_epi8(0x30));
    }
    return;
  }
  if constexpr (type == kQ2_K || type == kQ3_K) {
    const __m256i low2 = _mm256_set1_epi8(3);
    for (int u = 0; u < 2; ++u) {
      const __m256i pairs = load32(block + u * 64);
      w[4 * u] = _mm256_and_si256(pairs, low2);
      w[4 * u + 1] = _mm256_and_si256(_mm256_srli_epi16(pairs, 2), low2);
      w[4 * u + 2] = _mm256_and_si256(_mm256_srli_epi16(pairs, 4), low2);
      w[4 * u + 3] = _mm256_and_si256(_mm256_srli_epi16(pairs, 6), low2);
    }
  } else {
    const __m256i low4 = _mm256_set1_epi8(15);
    for (int v = 0; v < 4; ++v) {
      const __m256i nibbles = load32(block + v * 64);
      w[v] = _mm256_and_si256(nibbles, low4);
      w[v + 4] = _mm256_and_si256(_mm256_srli_epi16(nibbles, 4), low4);
    }
  }
  if constexpr (type == kQ3_K) {
    constexpr int kTo = 2;
    const __m256i bits = load32(block + kPairs);
    const __m256i mask = _mm256_set1_epi8(1 << kTo);
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
    const __m256i codes = centred<type>(
        _mm256_broadcastsi128_si256(_mm_loadu_si128(reinterpret_cast<const __m128i*>(kIq4Codes))));
    for (int g = 0; g < 8; ++g) {
      w[g] = _mm256_shuffle_epi8(codes, w[g]);
    }
  }
}

// Put together for all blocks of a unit at once, in bytes: less than half the work of each block's in 32 bits.
template <DType type>
[[gnu::always_inline]] inline void read_sub_scales(const std::byte* unit, SubScales& out) {
  constexpr PackedLayout kL = kLayout<type>;
  const __m256i low4 = _mm256_set1_epi8(15);
  const __m256i upper2 = _mm256_set1_epi8(0x30);
  const __m256i shifts = _mm256_setr_epi32(0, 0, 0, 0, 4, 4, 4, 4);
  for (int pair = 0; pair < 4; ++pair) {  // of blocks
    const __m256i low = load32(unit + kL.low + pair * 32);
    const __m256i high = _mm256_broadcastsi128_si256(
        _mm_loadu_si128(reinterpret_cast<const __m128i*>(unit + kL.high + pair * 16)));
    const __m256i bits = _mm256_srlv_epi32(high, shifts);
    const __m256i scale = _mm256_and_si256(_mm256_slli_epi16(bits, 4), upper2);
    const __m256i min = _mm256_and_si256(_mm256_slli_epi16(bits, 2), upper2);
    const auto store = [](std::uint8_t* to, __m256i bytes) {
      _mm256_store_si256(reinterpret_cast<__m256i*>(to), bytes);
    };
    store(out.scale[2 * pair], or_masked(scale, low, low4));
    store(out.min[2 * pair], or_masked(min, _mm256_srli_epi16(low, 4), low4));
  }
}

// What turns a block's integer sums into floats, 8 rows wide.
struct BlockScales {
  __m256 scale;    // of the sum
  __m256 min;      // of the activation's sum
  __m256 half[2];  // integer scales of half blocks
  __m256
      half_min[2];  // 1/32 of the integer minima of half blocks (Q2_K): times half_starts, -32 sums
};

// Of block `b` and the 8 rows from `row` on.
template <DType type>
[[gnu::always_inline]] inline BlockScales block_scales(
    const std::byte* unit, const SubScales& sub, int b, int row, __m256 d, __m256 dmin) {
  constexpr PackedLayout kL = kLayout<type>;
  unit += row;
  const auto low = [&](int i) { return load8(unit + kL.low + i * 16); };
  const auto high = [&](int i) { return load8(unit + kL.high + i * 16); };
  const auto shifted = [](__m256i x, int by) { return _mm256_srl_epi32(x, _mm_cvtsi32_si128(by)); };
  const __m256i c15 = _mm256_set1_epi32(15);
  const __m256i c3 = _mm256_set1_epi32(3);
  const auto join = [&](__m256i lo, __m256i hi) {
    return _mm256_or_si256(_mm256_and_si256(lo, c15),
                           _mm256_slli_epi32(_mm256_and_si256(hi, c3), 4));
  };
  BlockScales s{};
  s.scale = d;
  using enum DType;
  if constexpr (type == kQ4_1 || type == kQ5_1) {
    s.min = dmin;
  } else if constexpr (type == kQ4_K || type == kQ5_K) {
    const auto widened = [&](const std::uint8_t* bytes) {
      return _mm256_cvtepi32_ps(load8(reinterpret_cast<const std::byte*>(bytes + row)));
    };
    s.scale = _mm256_mul_ps(d, widened(sub.scale[b]));
    s.min = _mm256_mul_ps(_mm256_sub_ps(_mm256_set1_ps(-0.0F), dmin), widened(sub.min[b]));
  } else if constexpr (type == kQ6_K) {
    for (int h = 0; h < 2; ++h) {
      s.half[h] = _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(
          _mm_loadl_epi64(reinterpret_cast<const __m128i*>(unit + kL.low + (2 * b + h) * 16))));
    }
  } else if constexpr (type == kQ2_K) {
    for (int h = 0; h < 2; ++h) {
      const __m256i lo = low(2 * b + h);
      s.half[h] = _mm256_cvtepi32_ps(_mm256_and_si256(lo, c15));
      s.half_min[h] =
          _mm256_mul_ps(_mm256_cvtepi32_ps(_mm256_srli_epi32(lo, 4)), _mm256_set1_ps(1.0F / 32));
    }
    s.min = dmin;
  } else if constexpr (type == kQ3_K) {
    for (int h = 0; h < 2; ++h) {
      const __m256i scale =
          join(shifted(low(b), 4 * h), shifted(high((2 * b + h) / 4), (2 * b + h) % 4 * 2));
      s.half[h] = _mm256_cvtepi32_ps(_mm256_sub_epi32(scale, _mm256_set1_epi32(32)));
    }
  } else if constexpr (type == kIQ4_XS) {
    const __m256i scale = join(shifted(low(b / 2), b % 2 * 4), shifted(high(b / 4), b % 4 * 2));
    s.scale = _mm256_mul_ps(d, _mm256_cvtepi32_ps(_mm256_sub_epi32(scale, _mm256_set1_epi32(32))));
  }
  return s;
}

__m256i broadcast_codes(const std::int8_t* codes) {
  std::int32_t four;
  std::memcpy(&four, codes, 4);
  return _mm256_set1_epi32(four);
}
