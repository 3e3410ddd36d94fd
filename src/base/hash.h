// Hashes of 64 bits that spread well and resist nobody: for what only has to differ.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

namespace edgewise {

// FNV-1a (Fowler, Noll, Vo). `hash`: of the bytes that come before.
inline std::uint64_t fnv1a(std::span<const std::byte> bytes,
                           std::uint64_t hash = 0xCBF29CE484222325ULL) {
  for (const std::byte b : bytes) {
    hash = (hash ^ static_cast<std::uint64_t>(b)) * 0x100000001B3ULL;
  }
  return hash;
}

inline std::uint64_t fnv1a(std::string_view text) {
  return fnv1a(std::as_bytes(std::span(text)));
}

// SplitMix64 (Steele, Lea, Flood 2014): the outputs of neighbouring states are unrelated. States of one
// sequence are kSplitMixStep apart.
inline constexpr std::uint64_t kSplitMixStep = 0x9E3779B97F4A7C15ULL;

constexpr std::uint64_t split_mix(std::uint64_t state) {
  state = (state ^ (state >> 30U)) * 0xBF58476D1CE4E5B9ULL;
  state = (state ^ (state >> 27U)) * 0x94D049BB133111EBULL;
  return state ^ (state >> 31U);
}

}  // namespace edgewise
