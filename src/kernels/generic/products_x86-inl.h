// Matrix products on x86: the 8 groups of codes of a part of a panel stay in registers and meet the tokens of a tile. Included by
// each instruction set's table after generic/codes_x86-inl.h and
//   dot_groups<type, n, tokens>(w, first, stride, begin, sums)
//                              adds the exact products of n groups from `begin` on, for tokens `stride` blocks apart
//   kMostTokens                of a tile
//   kMostChains                of a tile's tokens have their sums side by side
// No include guard on purpose.

// What the sum of a block or half block starts from: -kCodeBias * (sum of the token's codes). `start` is that for a
// bias of kOf.
template <DType type, int kOf>
[[gnu::always_inline]] inline Ints first_sum(const std::int32_t& start) {
  constexpr int kBias = kSignedCodes<type> ? 0 : kCodeBias<type>;
  if constexpr (kBias == 0) {
    return Reg::set1(0);
  } else if constexpr (kBias >= kOf) {
    return Reg::shift_left<std::countr_zero(unsigned{kBias / kOf})>(Reg::set1(start));
  } else {
    return Reg::shift_right<std::countr_zero(unsigned{kOf / kBias})>(Reg::set1(start));
  }
}

// One block of tokens `stride` blocks apart: acc + scale * (weights . codes) + min * sum. Half blocks are scaled and
// added as floats, exactly: no sum is larger than 2 * 128 * (16 * 32 * 128) = 2^24. That takes fewer instructions than
// 32-bit multiplications.
template <DType type, int kTokens>
[[gnu::always_inline]] inline void add_block(const Ints w[8],
                                             const BlockScales& s,
                                             const CodeBlock* first,
                                             std::int64_t stride,
                                             Floats acc[kTokens]) {
  constexpr bool kHasMin = kLayout<type>.dmin >= 0;
  Ints sums[kTokens];
  Floats dots[kTokens];
  if constexpr (type == DType::kQ6_K) {
    static_assert(!kSignedCodes<type>);
    // The first half's sum is counted in the bits of a float, which spares its conversion. The base goes with the product:
    // it has 2 bits and scales 8, so that their product is exact, as is the difference.
    const Floats base = Reg::mul(s.half[0], Reg::set1(-kFloatBase));
    for (int j = 0; j < kTokens; ++j) {
      sums[j] = Reg::bits_of(first[j * stride].float_start);
    }
    dot_groups<type, 4, kTokens>(w, first, stride, 0, sums);
    for (int j = 0; j < kTokens; ++j) {
      dots[j] = Reg::fma(Reg::as_floats(sums[j]), s.half[0], base);
      sums[j] = first_sum<type, 32>(first[j * stride].half_starts[1]);
    }
    dot_groups<type, 4, kTokens>(w, first, stride, 4, sums);
    for (int j = 0; j < kTokens; ++j) {
      dots[j] = Reg::fma(Reg::to_floats(sums[j]), s.half[1], dots[j]);
    }
  } else if constexpr (kHalfScales<type>) {
    for (int h = 0; h < 2; ++h) {
      for (int j = 0; j < kTokens; ++j) {
        sums[j] = first_sum<type, 32>(first[j * stride].half_starts[h]);
      }
      dot_groups<type, 4, kTokens>(w, first, stride, 4 * h, sums);
      for (int j = 0; j < kTokens; ++j) {
        const Floats sum = Reg::to_floats(sums[j]);
        dots[j] = h == 0 ? Reg::mul(sum, s.half[0]) : Reg::fma(sum, s.half[1], dots[j]);
      }
    }
  } else {
    for (int j = 0; j < kTokens; ++j) {
      sums[j] = first_sum<type, 16>(first[j * stride].start);
    }
    dot_groups<type, 8, kTokens>(w, first, stride, 0, sums);
    for (int j = 0; j < kTokens; ++j) {
      dots[j] = Reg::to_floats(sums[j]);
    }
  }
  for (int j = 0; j < kTokens; ++j) {
    const CodeBlock& token = first[j * stride];
    const Floats scale = Reg::set1(token.scale);
    acc[j] = Reg::fma(dots[j], Reg::mul(s.scale, scale), acc[j]);
    if constexpr (kHasMin && kHalfScales<type>) {
      const auto min = [&](int h) { return Reg::to_floats(Reg::set1(token.half_starts[h])); };
      const Floats sum = Reg::fma(s.half_min[1], min(1), Reg::mul(s.half_min[0], min(0)));
      acc[j] = Reg::fma(sum, Reg::mul(s.min, scale), acc[j]);
    } else if constexpr (kHasMin) {
      acc[j] = Reg::fma(s.min, Reg::set1(token.sum), acc[j]);
    }
  }
}

// One block of a tile's tokens, `stride` blocks apart from `group` on: in groups of at most kMostChains, as equal as possible.
template <DType type, int kTokens>
[[gnu::always_inline]] inline void add_to_tile(const Ints w[8],
                                               const BlockScales& s,
                                               const CodeBlock* group,
                                               std::int64_t stride,
                                               Floats acc[kTokens]) {
  constexpr int kGroups = (kTokens + kMostChains - 1) / kMostChains;
  constexpr int kLess = kTokens / kGroups;
  constexpr int kMore = kTokens % kGroups;  // groups of one more
#pragma GCC unroll 16
  for (int i = 0; i < kMore; ++i) {
    // Else the compiler keeps an address a token, more than there are registers.
    asm("" : "+r"(group));
    add_block<type, kLess + 1>(w, s, group, stride, acc + i * (kLess + 1));
    group += (kLess + 1) * stride;
  }
#pragma GCC unroll 16
  for (int i = kMore; i < kGroups; ++i) {
    asm("" : "+r"(group));
    add_block<type, kLess>(w, s, group, stride, acc + kMore + i * kLess);
    group += kLess * stride;
  }
}

template <int kTokens>
[[gnu::always_inline]] inline void clear_tile(Floats (&acc)[kParts][kTokens]) {
  for (auto& part : acc) {
#pragma GCC unroll 16
    for (auto& a : part) {
      a = Reg::set1(0.0F);
    }
  }
}

template <int kTokens>
[[gnu::always_inline]] inline void load_tile(Floats (&acc)[kParts][kTokens],
                                             const float* y,
                                             std::int64_t y_stride,
                                             std::int64_t rows) {
#pragma GCC unroll 16
  for (int j = 0; j < kTokens; ++j) {
    for (int part = 0; part < kParts; ++part) {
      const int first = part * Reg::kRows;
      acc[part][j] = Reg::load_rows(y + j * y_stride + first, rows - first);
    }
  }
}

template <int kTokens>
[[gnu::always_inline]] inline void store_tile(const Floats (&acc)[kParts][kTokens],
                                              float* y,
                                              std::int64_t y_stride,
                                              std::int64_t rows) {
#pragma GCC unroll 16
  for (int j = 0; j < kTokens; ++j) {
    for (int part = 0; part < kParts; ++part) {
      const int first = part * Reg::kRows;
      Reg::store_rows(y + j * y_stride + first, acc[part][j], rows - first);
    }
  }
}

// Where a tile of tokens has a block's codes and scales from: a panel, or what an earlier tile has left.
enum class Source : std::uint8_t { kPacked, kPackedAndKept, kKept };

// Some blocks of a panel, whole units of them.
struct Strip {
  const std::byte* panel;
  std::int64_t first;
  std::int64_t count;
  UnpackedBlock* kept;  // of the strip's first block
};

template <DType type>
[[gnu::always_inline]] inline BlockScales kept_block(const UnpackedBlock& from,
                                                     int part,
                                                     Ints w[8]) {
  constexpr bool kHasMin = kLayout<type>.dmin >= 0;
  const int row = part * Reg::kRows;
  for (int g = 0; g < 8; ++g) {
    w[g] = Reg::load(from.codes[g] + part * kPartBytes);
  }
  BlockScales s;
  s.scale = Reg::load(from.scale + row);
  if constexpr (kHasMin) {
    s.min = Reg::load(from.min + row);
  }
  for (int h = 0; h < 2 && kHalfScales<type>; ++h) {
    s.half[h] = Reg::load(from.half[h] + row);
    if constexpr (kHasMin) {
      s.half_min[h] = Reg::load(from.half_min[h] + row);
    }
  }
  return s;
}

// kTokens tokens from `t` against a strip; the sums of the strips before it are in y. A block is unpacked once and used for
// all of them. (A loop over a number of tokens that the compiler does not know was 5 to 10 % slower. Inlined beside each other
// these loops get in the way of each other's registers: up to 6 % more instructions.)
template <DType type, int kTokens, Source kSource>
[[gnu::noinline]] void strip_tokens(const Strip& strip,
                                    const Activations& x,
                                    std::int64_t t,
                                    float* y,
                                    std::int64_t y_stride,
                                    std::int64_t rows) {
  constexpr PackedLayout kL = kLayout<type>;
  constexpr int kPerUnit = static_cast<int>(kL.unit_cols / kBlock);
  const std::int64_t stride = x.cols / kBlock;
  const CodeBlock* tokens = x.row(t) + strip.first;
  const std::byte* unit = strip.panel + strip.first / kPerUnit * kL.unit_bytes;
  UnpackedBlock* kept = strip.kept;
  Floats acc[kParts][kTokens];
  if (strip.first == 0) {
    clear_tile(acc);
    for (int j = 0; j < kTokens; ++j) {
      __builtin_prefetch(y + (t + j) * y_stride, 1);
    }
  } else {
    load_tile(acc, y + t * y_stride, y_stride, rows);
  }
  for (std::int64_t u = 0; u < strip.count / kPerUnit; ++u, unit += kL.unit_bytes) {
    SubScales sub;
    if constexpr (kHasSubScales<type> && kSource != Source::kKept) {
      read_sub_scales<type>(unit, sub);
    }
    for (int i = 0; i < kPerUnit; ++i, ++tokens, ++kept) {
      const std::byte* block = unit + kL.blocks + i * kL.block_bytes;
      if constexpr (kSource != Source::kKept) {
        prefetch_ahead(block, kL.block_bytes + (i == 0 ? kL.blocks : 0));
      }
      for (int part = 0; part < kParts; ++part) {
        Ints w[8];
        BlockScales s;
        if constexpr (kSource == Source::kKept) {
          s = kept_block<type>(*kept, part, w);
        } else {
          const int row = part * Reg::kRows;
          unpack<type>(block + part * kPartBytes, w);
          s = block_scales<type>(unit, unit_scales<type>(unit, row), sub, i, row);
        }
        if constexpr (kSource == Source::kPackedAndKept) {
          keep<type>(w, s, part, *kept);
        }
        add_to_tile<type, kTokens>(w, s, tokens, stride, acc[part]);
      }
    }
  }
  store_tile(acc, y + t * y_stride, y_stride, rows);
}

// run.template operator()<tokens>(), of 1 to kMostTokens.
template <typename Run>
void with_tile_of(std::int64_t tokens, Run&& run) {
  [&]<int... kLess>(std::integer_sequence<int, kLess...>) {
    static_cast<void>(
        ((tokens == kLess + 1 && (run.template operator()<kLess + 1>(), true)) || ...));
  }(std::make_integer_sequence<int, kMostTokens>());
}

// Of a panel that several tiles of tokens use: what the first of them unpacks stays in the second-level cache.
constexpr std::int64_t kStripBlocks = 64;

template <DType type>
void quantized_panel(const std::byte* panel,
                     std::int64_t cols,
                     const Activations& x,
                     float* y,
                     std::int64_t y_stride,
                     std::int64_t rows,
                     std::byte* scratch) {
  constexpr bool kKeeps = type != DType::kQ8_0;  // whose codes lie unpacked
  static_assert(!kKeeps || !can_split(type));    // of two planes the panel itself lies in scratch
  constexpr int kFewest =
      kMostTokens / 2;  // tokens of a tile of several, which are as equal as possible
  const std::int64_t blocks = cols / kBlock;
  const std::int64_t tiles = (x.rows + kMostTokens - 1) / kMostTokens;
  const std::int64_t most = kKeeps && tiles > 1 ? kStripBlocks : blocks;
  for (std::int64_t first = 0; first < blocks; first += most) {
    const Strip strip = {panel, first, std::min(most, blocks - first),
                         reinterpret_cast<UnpackedBlock*>(scratch)};
    for (std::int64_t i = 0; i < tiles; ++i) {
      const std::int64_t t = i * x.rows / tiles;
      const auto run = [&]<int kTokens, Source kSource>() {
        strip_tokens<type, kTokens, kSource>(strip, x, t, y, y_stride, rows);
      };
      with_tile_of((i + 1) * x.rows / tiles - t, [&]<int kTokens>() {
        if constexpr (kKeeps && kTokens >= kFewest) {
          if (i > 0) {
            return run.template operator()<kTokens, Source::kKept>();
          }
          if (tiles > 1) {
            return run.template operator()<kTokens, Source::kPackedAndKept>();
          }
        }
        run.template operator()<kTokens, Source::kPacked>();
      });
    }
  }
}
