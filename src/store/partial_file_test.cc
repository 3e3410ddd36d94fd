#include "store/partial_file.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include "store/test_support.h"

namespace edgewise::store {
namespace {

using PartialFileTest = StoreTest;

std::span<const std::byte> bytes_of(std::string_view text) {
  return std::as_bytes(std::span(text));
}

TEST_F(PartialFileTest, ContinuesFromTheLastCheckpointAndDropsWhatCameAfter) {
  {
    PartialFile file = PartialFile::open(folder_ / "part", "source A").value();
    ASSERT_TRUE(file.append(bytes_of("kept")));
    ASSERT_TRUE(file.checkpoint("3"));
    ASSERT_TRUE(file.append(bytes_of("torn")));
  }
  PartialFile again = PartialFile::open(folder_ / "part", "source A").value();
  EXPECT_EQ(again.bytes(), 4);
  EXPECT_EQ(again.note(), "3");
  ASSERT_TRUE(again.append(bytes_of(" on")));
  EXPECT_EQ(read(folder_ / "part"), "kept on");
}

TEST_F(PartialFileTest, StartsAnewForAnotherSource) {
  {
    PartialFile file = PartialFile::open(folder_ / "part", "source A").value();
    ASSERT_TRUE(file.append(bytes_of("of A")));
    ASSERT_TRUE(file.checkpoint("1"));
  }
  const PartialFile other = PartialFile::open(folder_ / "part", "source B").value();
  EXPECT_EQ(other.bytes(), 0);
  EXPECT_EQ(other.note(), "");
  EXPECT_EQ(read(folder_ / "part"), "");
}

TEST_F(PartialFileTest, StartsAnewWhenTheFileIsShorterThanItsCheckpointSays) {
  {
    PartialFile file = PartialFile::open(folder_ / "part", "A").value();
    ASSERT_TRUE(file.append(bytes_of("0123456789")));
    ASSERT_TRUE(file.checkpoint(""));
  }
  std::filesystem::resize_file(folder_ / "part", 5);
  EXPECT_EQ(PartialFile::open(folder_ / "part", "A").value().bytes(), 0);
}

TEST_F(PartialFileTest, RestartLeavesNothingToContinue) {
  {
    PartialFile file = PartialFile::open(folder_ / "part", "A").value();
    ASSERT_TRUE(file.append(bytes_of("wrong")));
    ASSERT_TRUE(file.checkpoint("x"));
    ASSERT_TRUE(file.restart());
  }
  EXPECT_EQ(PartialFile::open(folder_ / "part", "A").value().bytes(), 0);
}

RC_GTEST_FIXTURE_PROP(PartialFileTest,
                      AnyCheckpointBytesAreSurvived,
                      (const std::string& checkpoint)) {
  write("part", "0123456789");
  write("part.checkpoint", checkpoint);
  const Result<PartialFile> file = PartialFile::open(folder_ / "part", "A");
  RC_ASSERT(file.has_value());
  RC_ASSERT(file->bytes() >= 0 && file->bytes() <= 10);
}

}  // namespace
}  // namespace edgewise::store
