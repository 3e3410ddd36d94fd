#include "platform/checksum.h"

#include <array>
#include <bit>
#include <cstring>

namespace edgewise::platform {

// Eight chains of multiplications. Every step is a bijection, so no change of a single word goes
// unseen.
std::uint64_t checksum(std::span<const std::byte> bytes) {
  constexpr std::uint64_t kMultiplier = 0x9E3779B97F4A7C15ULL;
  constexpr std::size_t kLanes = 8;
  const auto step = [](std::uint64_t state, std::uint64_t word) {
    return std::rotl(state ^ word, 29) * kMultiplier;
  };
  std::array<std::uint64_t, kLanes> lanes{1, 2, 3, 4, 5, 6, 7, 8};
  std::array<std::uint64_t, kLanes> words{};
  std::size_t at = 0;
  for (; at + sizeof words <= bytes.size(); at += sizeof words) {
    std::memcpy(words.data(), bytes.data() + at, sizeof words);
    for (std::size_t i = 0; i < kLanes; ++i) {
      lanes[i] = step(lanes[i], words[i]);
    }
  }
  std::uint64_t sum = bytes.size();
  for (; at < bytes.size(); ++at) {
    sum = step(sum, static_cast<std::uint64_t>(bytes[at]));
  }
  for (const std::uint64_t lane : lanes) {
    sum = step(sum, lane);
  }
  return sum;
}

}  // namespace edgewise::platform
