// Philox 4x32-10: a random number that is a function of its key and counter (Salmon et al., SC
// 2011, "Parallel Random Numbers: As Easy as 1, 2, 3"). No state, so a draw can be repeated.
#pragma once

#include <array>
#include <cstdint>

namespace edgewise::sampling {

inline std::array<std::uint32_t, 4> philox(std::array<std::uint32_t, 4> counter,
                                           std::array<std::uint32_t, 2> key) {
  for (int round = 0; round < 10; ++round) {
    const std::uint64_t a = std::uint64_t{0xD2511F53} * counter[0];
    const std::uint64_t b = std::uint64_t{0xCD9E8D57} * counter[2];
    counter = {
        static_cast<std::uint32_t>(b >> 32U) ^ counter[1] ^ key[0], static_cast<std::uint32_t>(b),
        static_cast<std::uint32_t>(a >> 32U) ^ counter[3] ^ key[1], static_cast<std::uint32_t>(a)};
    key[0] += 0x9E3779B9U;
    key[1] += 0xBB67AE85U;
  }
  return counter;
}

// Uniform in [0, 1) with 53 bits, for the draw at `position`.
inline double uniform(std::uint64_t seed, std::int64_t position) {
  const auto p = static_cast<std::uint64_t>(position);
  const auto bits =
      philox({static_cast<std::uint32_t>(p), static_cast<std::uint32_t>(p >> 32U), 0, 0},
             {static_cast<std::uint32_t>(seed), static_cast<std::uint32_t>(seed >> 32U)});
  const std::uint64_t wide = std::uint64_t{bits[0]} << 32U | bits[1];
  return static_cast<double>(wide >> 11U) * 0x1p-53;
}

}  // namespace edgewise::sampling
