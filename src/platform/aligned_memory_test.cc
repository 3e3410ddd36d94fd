#include "platform/aligned_memory.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <cstring>

namespace edgewise::platform {
namespace {

std::uintptr_t address(const void* memory) {
  return reinterpret_cast<std::uintptr_t>(memory);
}

TEST(AlignedMemory, BeginsOnACacheLineAndLargeOnAHugePage) {
  for (const std::int64_t count : {0, 1, 17, 4096}) {
    const AlignedArray<float> array = aligned_array<float>(count);
    EXPECT_EQ(address(array.get()) % 64, 0U) << count;
  }
  constexpr std::int64_t kLarge = (5 << 20) + 4;
  const AlignedArray<std::byte> large = aligned_array<std::byte>(kLarge);
  EXPECT_EQ(address(large.get()) % (2U << 20U), 0U);
  std::memset(large.get(), 7, kLarge);
  EXPECT_EQ(large[kLarge - 1], std::byte{7});
}

}  // namespace
}  // namespace edgewise::platform
