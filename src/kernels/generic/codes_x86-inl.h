// Codes and scales of a packed block on x86, for the rows that a register holds: half a panel with AVX2, all of it with AVX-512.
// Included by each instruction set's table after its register (avx2/register-inl.h, avx512/register-inl.h) and
//   kSignedCodes<type>   whether unpack() takes the bias off a type's codes
// No include guard on purpose.

using tensor::DType;
using Floats = Reg::Floats;
using Ints = Reg::Ints;

constexpr int kParts = kPanelRows / Reg::kRows;
constexpr int kPartBytes = Reg::kRows * 4;  // of a group of 4 columns

template <DType type>
constexpr bool kIsIq4 = type == DType::kIQ4_NL || type == DType::kIQ4_XS;

template <DType type>
constexpr std::array<std::uint8_t, 16> kIq4Table = [] {
  std::array<std::uint8_t, 16> codes{};
  for (std::size_t i = 0; i < codes.size(); ++i) {
    codes[i] = static_cast<std::uint8_t>(kIq4Codes[i] - (kSignedCodes<type> ? kCodeBias<type> : 0));
  }
  return codes;
}();

// The eight groups of a block, of the rows from where `block` points.
template <DType type>
[[gnu::always_inline]] inline void unpack(const std::byte* block, Ints w[8]) {
  using enum DType;
  const auto vector = [&](int v) { return Reg::load(block + v * 64); };
  if constexpr (type == kQ8_0) {
    for (int g = 0; g < 8; ++g) {
      w[g] = vector(g);
    }
  } else if constexpr (type == kQ6_K) {
    Ints sixes[6];
    for (int v = 0; v < 6; ++v) {
      sixes[v] = vector(v);
      w[v] = sixes[v] & Reg::bytes(63);
    }
    for (int g = 6; g < 8; ++g) {
      const Ints* from = sixes + (g - 6) * 3;
      const Ints first = shift_bits<6, 0>(from[0]) & Reg::bytes(3);
      const Ints both = or_masked(first, shift_bits<6, 2>(from[1]), Reg::bytes(3 << 2));
      w[g] = or_masked(both, shift_bits<6, 4>(from[2]), Reg::bytes(3 << 4));
    }
  } else if constexpr (type == kQ5_0 || type == kQ5_1 || type == kQ5_K) {
    Ints fives[5];
    for (int v = 0; v < 5; ++v) {
      fives[v] = vector(v);
      w[v] = fives[v] & Reg::bytes(31);
    }
    const auto high3 = [&](int v) { return shift_bits<5, 0>(fives[v]) & Reg::bytes(7); };
    w[5] = or_masked(high3(0), shift_bits<5, 3>(fives[1]), Reg::bytes(3 << 3));
    w[6] = or_masked(high3(2), shift_bits<5, 3>(fives[3]), Reg::bytes(3 << 3));
    const Ints fourth = or_masked(high3(4), shift_bits<7, 3>(fives[1]), Reg::bytes(1 << 3));
    w[7] = or_masked(fourth, shift_bits<7, 4>(fives[3]), Reg::bytes(1 << 4));
  } else if constexpr (type == kQ2_K || type == kQ3_K) {
    for (int u = 0; u < 2; ++u) {
      const Ints pairs = vector(u);
      w[4 * u] = pairs & Reg::bytes(3);
      w[4 * u + 1] = shift_bits<2, 0>(pairs) & Reg::bytes(3);
      w[4 * u + 2] = shift_bits<4, 0>(pairs) & Reg::bytes(3);
      w[4 * u + 3] = shift_bits<6, 0>(pairs) & Reg::bytes(3);
    }
    if constexpr (type == kQ3_K) {
      const Ints bits = Reg::load(block + kPairs);
      const Ints mask = Reg::bytes(4);
      w[0] = or_masked(w[0], shift_bits<0, 2>(bits), mask);
      w[1] = or_masked(w[1], shift_bits<1, 2>(bits), mask);
      w[2] = or_masked(w[2], bits, mask);
      w[3] = or_masked(w[3], shift_bits<3, 2>(bits), mask);
      w[4] = or_masked(w[4], shift_bits<4, 2>(bits), mask);
      w[5] = or_masked(w[5], shift_bits<5, 2>(bits), mask);
      w[6] = or_masked(w[6], shift_bits<6, 2>(bits), mask);
      w[7] = or_masked(w[7], shift_bits<7, 2>(bits), mask);
    }
  } else {
    for (int v = 0; v < 4; ++v) {
      const Ints nibbles = vector(v);
      w[v] = nibbles & Reg::bytes(15);
      w[v + 4] = shift_bits<4, 0>(nibbles) & Reg::bytes(15);
    }
    if constexpr (kIsIq4<type>) {
      for (int g = 0; g < 8; ++g) {
        w[g] = Reg::look_up(kIq4Table<type>.data(), w[g]);
      }
    }
  }
  if constexpr (kSignedCodes<type> && !kIsIq4<type> && kCodeBias<type> != 0) {
    for (int g = 0; g < 8; ++g) {
      w[g] = Reg::sub_bytes(w[g], Reg::bytes(kCodeBias<type>));
    }
  }
}

// What the scales and minima of all blocks of a unit are multiples of.
struct UnitScales {
  Floats d;
  Floats dmin;
};

// Of the rows from `row` on.
template <DType type>
[[gnu::always_inline]] inline UnitScales unit_scales(const std::byte* unit, int row) {
  constexpr PackedLayout kL = kLayout<type>;
  return {Reg::load_halves(unit + row * 2),
          kL.dmin >= 0 ? Reg::load_halves(unit + kL.dmin + row * 2) : Reg::set1(0.0F)};
}

// The 6-bit scales and minima of a unit's blocks, where a type has them.
template <DType type>
constexpr bool kHasSubScales = type == DType::kQ4_K || type == DType::kQ5_K;

struct SubScales {
  alignas(64) std::byte scale[8 * kPanelRows];
  alignas(64) std::byte min[8 * kPanelRows];
};

// Put together for all blocks of a unit at once, in bytes: less than half the work of each block's in 32 bits.
template <DType type>
[[gnu::always_inline]] inline void read_sub_scales(const std::byte* unit, SubScales& out) {
  constexpr PackedLayout kL = kLayout<type>;
  constexpr int kBlocks = kPartBytes / kPanelRows;  // of a register
  for (int b = 0; b < 8; b += kBlocks) {
    const Ints low = Reg::load(unit + kL.low + b * kPanelRows);
    const Ints high = Reg::both_nibbles(unit + kL.high + b / 2 * kPanelRows);
    const Ints scale = shift_bits<0, 4>(high) & Reg::bytes(3 << 4);
    const Ints min = shift_bits<2, 4>(high) & Reg::bytes(3 << 4);
    Reg::store(out.scale + b * kPanelRows, or_masked(scale, low, Reg::bytes(15)));
    Reg::store(out.min + b * kPanelRows, or_masked(min, shift_bits<4, 0>(low), Reg::bytes(15)));
  }
}

// What turns a block's integer sums into floats.
struct BlockScales {
  Floats scale;    // of the sum
  Floats min;      // of the activation's sum
  Floats half[2];  // integer scales of half blocks
  Floats
      half_min[2];  // 1/32 of the integer minima of half blocks (Q2_K): times half_starts, -32 sums
};

// Of block `b` of a unit and the rows from `row` on.
template <DType type>
[[gnu::always_inline]] inline BlockScales block_scales(
    const std::byte* unit, const UnitScales& of_unit, const SubScales& sub, int b, int row) {
  constexpr PackedLayout kL = kLayout<type>;
  const auto low = [&](int i) { return Reg::widen(unit + kL.low + i * kPanelRows + row); };
  const auto high = [&](int i) { return Reg::widen(unit + kL.high + i * kPanelRows + row); };
  const auto bits = [](Ints x, int from, int mask) {
    return Reg::shift_down(x, from) & Reg::set1(mask);
  };
  BlockScales s{};
  s.scale = of_unit.d;
  using enum DType;
  if constexpr (type == kQ4_1 || type == kQ5_1) {
    s.min = of_unit.dmin;
  } else if constexpr (kHasSubScales<type>) {
    const Floats minus_dmin = Reg::sub(Reg::set1(-0.0F), of_unit.dmin);
    s.scale = Reg::mul(of_unit.d, Reg::to_floats(Reg::widen(sub.scale + b * kPanelRows + row)));
    s.min = Reg::mul(minus_dmin, Reg::to_floats(Reg::widen(sub.min + b * kPanelRows + row)));
  } else if constexpr (type == kQ6_K) {
    for (int h = 0; h < 2; ++h) {
      const std::byte* scales = unit + kL.low + (2 * b + h) * kPanelRows + row;
      s.half[h] = Reg::to_floats(Reg::widen_signed(scales));
    }
  } else if constexpr (type == kQ2_K) {
    s.min = of_unit.dmin;
    for (int h = 0; h < 2; ++h) {
      const Ints both = low(2 * b + h);
      s.half[h] = Reg::to_floats(both & Reg::set1(15));
      s.half_min[h] = Reg::mul(Reg::to_floats(Reg::shift_down(both, 4)), Reg::set1(1.0F / 32));
    }
  } else if constexpr (type == kQ3_K) {
    for (int h = 0; h < 2; ++h) {
      const Ints scale = bits(low(b), 4 * h, 15) |
                         Reg::shift_left<4>(bits(high((2 * b + h) / 4), (2 * b + h) % 4 * 2, 3));
      s.half[h] = Reg::to_floats(Reg::sub(scale, Reg::set1(32)));
    }
  } else if constexpr (type == kIQ4_XS) {
    const Ints scale =
        bits(low(b / 2), b % 2 * 4, 15) | Reg::shift_left<4>(bits(high(b / 4), b % 4 * 2, 3));
    s.scale = Reg::mul(of_unit.d, Reg::to_floats(Reg::sub(scale, Reg::set1(32))));
  }
  return s;
}

// For the rows of a part.
template <DType type>
[[gnu::always_inline]] inline void keep(const Ints w[8],
                                        const BlockScales& s,
                                        int part,
                                        UnpackedBlock& to) {
  constexpr bool kHasMin = kLayout<type>.dmin >= 0;
  const int row = part * Reg::kRows;
  for (int g = 0; g < 8; ++g) {
    Reg::store(to.codes[g] + part * kPartBytes, w[g]);
  }
  Reg::store(to.scale + row, s.scale);
  if constexpr (kHasMin) {
    Reg::store(to.min + row, s.min);
  }
  for (int h = 0; h < 2 && kHalfScales<type>; ++h) {
    Reg::store(to.half[h] + row, s.half[h]);
    if constexpr (kHasMin) {
      Reg::store(to.half_min[h] + row, s.half_min[h]);
    }
  }
}
