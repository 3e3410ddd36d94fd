// Where things lie inside a packed panel. Shared by the packer and by every instruction set's kernels.
//
// A panel is a sequence of units; a unit covers 32 columns (one block) or 256 (eight blocks) of 16 rows:
//   d      16 x f16       row scales                          (all integer types)
//   dmin   16 x f16       row minima                          (Q4_1, Q5_1, Q2_K, Q4_K, Q5_K)
//   low    n x 16 bytes   low bits of the integer sub-scales  (256-column types)
//   high   n x 16 bytes   high bits of the same               (Q3_K, Q4_K, Q5_K, IQ4_XS)
//   blocks                codes of each 32-column block, then the next block
// Codes of a block, where group g holds k = 4g..4g+3 and byte 4r+i of a 64-byte vector is row r, k = 4g+i:
//   nibbles  4 vectors; vector v has group v in the low nibble and group v+4 in the high one
//   bytes    8 vectors, one a group
//   pairs    2 vectors of 2-bit codes; vector u has group 4u+j in bits 2j and 2j+1
//   bits     1 vector of high bits; bit g belongs to group g
//   fives    5 vectors of 5-bit codes; vector v has group v in its low five bits; group 5 is the high three bits of vector 0 and,
//            above them, bits 5 and 6 of vector 1; group 6 that of vectors 2 and 3; group 7 the high three bits of vector 4,
//            bit 7 of vector 1 and bit 7 of vector 3
//   sixes    6 vectors of 6-bit codes; vector v has group v in its low six bits, and in the high two, from the low end on, group
//            6 in vectors 0 to 2 and group 7 in vectors 3 to 5
#pragma once

#include <cstdint>

#include "kernels/packed.h"

namespace edgewise::kernels {

// What is read `bytes` from `at` on is multiplied now; asks for what comes later, in two steps: from memory into the second-level
// cache, where many misses may be under way, and from there into the first (docs/kernels.md, One row).
inline void prefetch_ahead(const std::byte* at, std::int64_t bytes) {
  constexpr std::int64_t kFar = 16384;
  constexpr std::int64_t kNear = 2048;
  constexpr int kSecondLevel = 2;
  for (std::int64_t line = 0; line < bytes; line += 64) {
    __builtin_prefetch(at + kFar + line, 0, kSecondLevel);
    __builtin_prefetch(at + kNear + line);
  }
}

struct PackedLayout {
  std::int64_t unit_cols = 0;
  std::int64_t unit_bytes = 0;
  std::int64_t dmin = -1, low = -1, high = -1, blocks = -1;  // byte offsets in a unit; d is at 0
  std::int64_t block_bytes = 0;
};

consteval PackedLayout make_layout(std::int64_t unit_cols,
                                   bool has_min,
                                   std::int64_t low_bytes,
                                   std::int64_t high_bytes,
                                   std::int64_t block_bytes) {
  PackedLayout layout;
  layout.unit_cols = unit_cols;
  std::int64_t at = 32;
  if (has_min) {
    layout.dmin = at;
    at += 32;
  }
  layout.low = at;
  layout.high = at + low_bytes;
  layout.blocks = layout.high + high_bytes;
  layout.block_bytes = block_bytes;
  layout.unit_bytes = layout.blocks + unit_cols / kBlock * block_bytes;
  return layout;
}

// A block of a panel as several tiles of tokens use it: a byte a code, whose bias is the kernel's affair, and scales as floats. What a
// type does not have is neither written nor read.
struct UnpackedBlock {
  std::byte codes[8][64];
  float scale[kPanelRows];  // of the sum, or of both halves' scaled sum
  float min[kPanelRows];
  float half[2][kPanelRows];      // types with a scale for each 16 columns
  float half_min[2][kPanelRows];  // kQ2_K
};

inline constexpr std::int64_t kNibbles = 256, kBytes = 512, kPairs = 128, kBits = 64, kFives = 320,
                              kSixes = 384;

template <tensor::DType type>
inline constexpr PackedLayout kLayout{};
template <>
inline constexpr PackedLayout kLayout<tensor::DType::kQ4_0> =
    make_layout(32, false, 0, 0, kNibbles);
template <>
inline constexpr PackedLayout kLayout<tensor::DType::kQ4_1> = make_layout(32, true, 0, 0, kNibbles);
template <>
inline constexpr PackedLayout kLayout<tensor::DType::kQ5_0> = make_layout(32, false, 0, 0, kFives);
template <>
inline constexpr PackedLayout kLayout<tensor::DType::kQ5_1> = make_layout(32, true, 0, 0, kFives);
template <>
inline constexpr PackedLayout kLayout<tensor::DType::kQ8_0> = make_layout(32, false, 0, 0, kBytes);
template <>
inline constexpr PackedLayout kLayout<tensor::DType::kIQ4_NL> =
    make_layout(32, false, 0, 0, kNibbles);
template <>  // low: 16 sub-blocks x (scale | min << 4)
inline constexpr PackedLayout kLayout<tensor::DType::kQ2_K> =
    make_layout(256, true, 256, 0, kPairs);
template <>  // low: 8 x (low nibbles of sub-blocks 2b and 2b+1); high: 4 x (2 bits of sub-blocks 4i..4i+3)
inline constexpr PackedLayout kLayout<tensor::DType::kQ3_K> =
    make_layout(256, false, 128, 64, kPairs + kBits);
template <>  // low: 8 x (scale & 15 | (min & 15) << 4); high: 4 x (scale, min of block 2i, scale, min of 2i+1)
inline constexpr PackedLayout kLayout<tensor::DType::kQ4_K> =
    make_layout(256, true, 128, 64, kNibbles);
template <>
inline constexpr PackedLayout kLayout<tensor::DType::kQ5_K> =
    make_layout(256, true, 128, 64, kFives);
template <>  // low: 16 x int8 scale
inline constexpr PackedLayout kLayout<tensor::DType::kQ6_K> =
    make_layout(256, false, 256, 0, kSixes);
template <>  // low: 4 x (low nibbles of blocks 2i and 2i+1); high: 2 x (2 bits of blocks 4i..4i+3)
inline constexpr PackedLayout kLayout<tensor::DType::kIQ4_XS> =
    make_layout(256, false, 64, 32, kNibbles);

// Types with a scale for each 16 columns: every half of a block has its own.
template <tensor::DType type>
inline constexpr bool kHalfScales =
    type == tensor::DType::kQ2_K || type == tensor::DType::kQ3_K || type == tensor::DType::kQ6_K;

// Subtracted from the stored unsigned code to get the signed one.
template <tensor::DType type>
inline constexpr int kCodeBias = 0;
template <>
inline constexpr int kCodeBias<tensor::DType::kQ4_0> = 8;
template <>
inline constexpr int kCodeBias<tensor::DType::kQ5_0> = 16;
template <>
inline constexpr int kCodeBias<tensor::DType::kQ8_0> = 128;
template <>
inline constexpr int kCodeBias<tensor::DType::kQ3_K> = 4;
template <>
inline constexpr int kCodeBias<tensor::DType::kQ6_K> = 32;
template <>
inline constexpr int kCodeBias<tensor::DType::kIQ4_NL> = 128;
template <>
inline constexpr int kCodeBias<tensor::DType::kIQ4_XS> = 128;

// The 16 values of the IQ4 types (ggml-common.h kvalues_iq4nl), plus 128.
inline constexpr std::uint8_t kIq4Codes[16] = {1,   24,  45,  63,  79,  93,  106, 118,
                                               129, 141, 153, 166, 181, 197, 217, 241};

// body.template operator()<type>() for a quantized type; false for float types.
template <typename Body>
bool dispatch_quantized(tensor::DType type, Body&& body) {
  using enum tensor::DType;
  switch (type) {
    case kQ4_0:
      body.template operator()<kQ4_0>();
      return true;
    case kQ4_1:
      body.template operator()<kQ4_1>();
      return true;
    case kQ5_0:
      body.template operator()<kQ5_0>();
      return true;
    case kQ5_1:
      body.template operator()<kQ5_1>();
      return true;
    case kQ8_0:
      body.template operator()<kQ8_0>();
      return true;
    case kQ2_K:
      body.template operator()<kQ2_K>();
      return true;
    case kQ3_K:
      body.template operator()<kQ3_K>();
      return true;
    case kQ4_K:
      body.template operator()<kQ4_K>();
      return true;
    case kQ5_K:
      body.template operator()<kQ5_K>();
      return true;
    case kQ6_K:
      body.template operator()<kQ6_K>();
      return true;
    case kIQ4_NL:
      body.template operator()<kIQ4_NL>();
      return true;
    case kIQ4_XS:
      body.template operator()<kIQ4_XS>();
      return true;
    case kF32:
    case kF16:
    case kBF16:
      return false;
  }
  return false;
}

}  // namespace edgewise::kernels
