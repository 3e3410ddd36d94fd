#include "platform/huge_pages.h"

#include <gtest/gtest.h>
#include <stdlib.h>

#include <atomic>
#include <filesystem>
#include <fstream>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "platform/checksum.h"
#include "platform/mapped_file.h"

namespace edgewise::platform {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t kHugePage = std::size_t{2} << 20U;

class HugePages : public ::testing::Test {
 protected:
  void SetUp() override {
    char name[] = "/tmp/edgewise-huge-XXXXXX";
    folder_ = ::mkdtemp(name);
  }

  void TearDown() override { fs::remove_all(folder_); }

  MappedFile mapped(std::size_t bytes) {
    std::mt19937_64 rng(7);
    std::vector<std::uint64_t> words(bytes / 8);
    for (std::uint64_t& word : words) {
      word = rng();
    }
    std::ofstream(path(), std::ios::binary)
        .write(reinterpret_cast<const char*>(words.data()), static_cast<std::streamsize>(bytes));
    auto file = MappedFile::open(path());
    EXPECT_TRUE(file.has_value());
    return std::move(*file);
  }

  fs::path path() const { return folder_ / "file"; }

  fs::path folder_;
};

// Truncating the file proves where the bytes are: a page that was still the file's would raise SIGBUS.
TEST_F(HugePages, KeepTheBytesWhileOthersRead) {
  const MappedFile file = mapped(70 * kHugePage + 4096 * 3);
  const std::uint64_t before = checksum(file.bytes());
  std::atomic<bool> done = false;
  std::atomic<int> different = 0;
  std::atomic<int> rounds = 0;
  std::vector<std::jthread> readers;
  for (int i = 0; i < 2; ++i) {
    readers.emplace_back([&] {
      while (!done || rounds < 4) {
        different += checksum(file.bytes()) != before ? 1 : 0;
        ++rounds;
      }
    });
  }
  const std::size_t replaced = replace_by_huge_pages(file.bytes(), std::stop_token{});
  done = true;
  readers.clear();
  EXPECT_EQ(different, 0);
  EXPECT_EQ(checksum(file.bytes()), before);
  if (replaced == 0) {
    GTEST_SKIP() << "this kernel has no huge pages to give";
  }
  EXPECT_GE(replaced, 69 * kHugePage);
  EXPECT_LE(replaced, 70 * kHugePage);
  const auto begin = reinterpret_cast<std::uintptr_t>(file.bytes().data());
  const std::size_t head = (kHugePage - begin % kHugePage) % kHugePage;
  const std::span<const std::byte> middle = file.bytes().subspan(head, replaced);
  const std::uint64_t of_middle = checksum(middle);
  fs::resize_file(path(), 0);
  EXPECT_EQ(checksum(middle), of_middle);
}

TEST_F(HugePages, LeaveWhatIsSmallerAlone) {
  const MappedFile file = mapped(kHugePage - 4096);
  const std::uint64_t before = checksum(file.bytes());
  EXPECT_EQ(replace_by_huge_pages(file.bytes(), std::stop_token{}), 0U);
  EXPECT_EQ(checksum(file.bytes()), before);
  EXPECT_EQ(replace_by_huge_pages({}, std::stop_token{}), 0U);
}

TEST_F(HugePages, StopWhenTold) {
  const MappedFile file = mapped(40 * kHugePage);
  const std::uint64_t before = checksum(file.bytes());
  std::stop_source source;
  source.request_stop();
  EXPECT_EQ(replace_by_huge_pages(file.bytes(), source.get_token()), 0U);
  EXPECT_EQ(checksum(file.bytes()), before);
}

}  // namespace
}  // namespace edgewise::platform
