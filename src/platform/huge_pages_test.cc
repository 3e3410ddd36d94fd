#include "platform/huge_pages.h"

#include <gtest/gtest.h>
#include <stdlib.h>
#include <sys/mman.h>

#include <atomic>
#include <chrono>
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

// Where a piece moved away from, another thread may map its own at once (a stack, an arena): it keeps that.
TEST_F(HugePages, TakeNothingFromOthersThatMapMemoryMeanwhile) {
  std::atomic<bool> done = false;
  std::atomic<int> taken = 0;
  std::vector<std::jthread> others;
  for (int i = 0; i < 2; ++i) {
    others.emplace_back([&] {
      while (!done) {
        constexpr std::size_t kBytes = kHugePage;
        void* own =
            ::mmap(nullptr, kBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        ASSERT_NE(own, MAP_FAILED);
        std::this_thread::sleep_for(std::chrono::microseconds(200));
        unsigned char state = 0;
        for (const std::size_t at : {std::size_t{0}, kBytes - 4096}) {
          taken += ::mincore(static_cast<std::byte*>(own) + at, 4096, &state) != 0 ? 1 : 0;
        }
        ::munmap(own, kBytes);
      }
    });
  }
  mapped(64 * kHugePage);  // writes it
  for (int round = 0; round < 10; ++round) {
    const MappedFile file = MappedFile::open(path()).value();
    replace_by_huge_pages(file.bytes(), std::stop_token{});
  }
  done = true;
  others.clear();
  EXPECT_EQ(taken, 0);
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
