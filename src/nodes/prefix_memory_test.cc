#include "nodes/prefix_memory.h"

#include <gtest/gtest.h>

#include <vector>

namespace edgewise::nodes {
namespace {

using Beginnings = std::vector<std::uint64_t>;

TEST(PrefixMemory, KnowsWhatBeginsAlike) {
  PrefixMemory memory;
  memory.add("me", "a", Beginnings{1, 2, 3});
  EXPECT_EQ(memory.known("me", "a", Beginnings{1, 2, 3}), 3U);
  EXPECT_EQ(memory.known("me", "a", Beginnings{1, 2, 9, 3}), 2U);
  EXPECT_EQ(memory.known("me", "a", Beginnings{9, 2, 3}), 0U);
  EXPECT_EQ(memory.known("me", "a", Beginnings{}), 0U);
  EXPECT_EQ(memory.known("me", "b", Beginnings{1, 2, 3}), 0U);
  EXPECT_EQ(memory.known("you", "a", Beginnings{1, 2, 3}), 0U);
}

TEST(PrefixMemory, ForgetsTheOldestAndItsEndsFirst) {
  PrefixMemory memory(4);
  memory.add("", "a", Beginnings{1, 2});
  memory.add("", "a", Beginnings{5, 6});
  memory.add("", "a", Beginnings{1});  // used again
  memory.add("", "a", Beginnings{7});
  EXPECT_EQ(memory.known("", "a", Beginnings{1, 2}), 1U);
  EXPECT_EQ(memory.known("", "a", Beginnings{5, 6}), 2U);
  memory.add("", "a", Beginnings{8});
  EXPECT_EQ(memory.known("", "a", Beginnings{5, 6}), 1U);
}

}  // namespace
}  // namespace edgewise::nodes
