#include "base/hash.h"

#include <gtest/gtest.h>

namespace edgewise {
namespace {

// Values of the authors' own programs.
TEST(Hash, AreTheStandardOnes) {
  EXPECT_EQ(fnv1a(""), 0xCBF29CE484222325ULL);
  EXPECT_EQ(fnv1a("a"), 0xAF63DC4C8601EC8CULL);
  EXPECT_EQ(fnv1a("foobar"), 0x85944171F73967E8ULL);
  EXPECT_EQ(split_mix(kSplitMixStep), 0xE220A8397B1DCDAFULL);  // the first of seed 0
  EXPECT_EQ(split_mix(2 * kSplitMixStep), 0x6E789E6AA1B965F4ULL);
}

TEST(Hash, GoesOnFromWhatCameBefore) {
  const auto bytes = [](std::string_view text) { return std::as_bytes(std::span(text)); };
  EXPECT_EQ(fnv1a(bytes("bar"), fnv1a("foo")), fnv1a("foobar"));
}

}  // namespace
}  // namespace edgewise
