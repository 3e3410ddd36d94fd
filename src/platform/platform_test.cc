#include <gtest/gtest.h>
#include <sched.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstring>
#include <filesystem>
#include <fstream>
#include <string>
#include <thread>
#include <vector>

#include "platform/cpu.h"
#include "platform/mapped_file.h"

namespace edgewise::platform {
namespace {

namespace fs = std::filesystem;

TEST(Cpu, UsesNoMoreThanTheAffinityMaskAllows) {
  std::thread([] {  // a thread of its own: the mask is per thread
    cpu_set_t first;
    cpu_set_t all;
    ASSERT_EQ(::sched_getaffinity(0, sizeof all, &all), 0);
    EXPECT_LE(usable_cpus(), CPU_COUNT(&all));
    CPU_ZERO(&first);
    for (std::size_t cpu = 0; cpu < CPU_SETSIZE; ++cpu) {
      if (CPU_ISSET(cpu, &all)) {
        CPU_SET(cpu, &first);
        break;
      }
    }
    ASSERT_EQ(::sched_setaffinity(0, sizeof first, &first), 0);
    EXPECT_EQ(usable_cpus(), 1);
  })
      .join();
}

#if defined(__x86_64__)
TEST(Cpu, FeaturesAgreeWithTheKernelsList) {
  std::ifstream file("/proc/cpuinfo");
  std::string line;
  while (std::getline(file, line) && !line.starts_with("flags")) {
  }
  if (line.empty()) {
    GTEST_SKIP() << "no x86 flags in /proc/cpuinfo";
  }
  const auto has = [words = line + " "](const char* flag) {
    return words.find(" " + std::string(flag) + " ") != std::string::npos;
  };
  const bool avx2 = has("avx2") && has("fma") && has("f16c");
  const bool avx512 =
      avx2 && has("avx512f") && has("avx512bw") && has("avx512vl") && has("avx512dq");
  EXPECT_EQ(cpu_features().avx2_fma_f16c, avx2);
  EXPECT_EQ(cpu_features().avx_vnni, avx2 && has("avx_vnni"));
  EXPECT_EQ(cpu_features().avx512, avx512);
  EXPECT_EQ(cpu_features().avx512_vnni, avx512 && has("avx512_vnni"));
  EXPECT_LE(cpu_features().amx_int8, has("amx_int8"));
}
#endif

TEST(Memory, ResidentBytesFollowAnAllocation) {
  const std::int64_t before = resident_bytes();
  EXPECT_GT(before, 0);
  std::vector<char> block(64 << 20);
  std::memset(block.data(), 1, block.size());
  asm volatile("" : : "r"(block.data()) : "memory");  // else clang leaves the whole vector out
  EXPECT_GT(resident_bytes(), before + (48 << 20));
  EXPECT_GE(peak_resident_bytes(), before + (48 << 20));
  EXPECT_GT(available_memory_bytes(), 0);
}

class MappedFileTest : public testing::Test {
 protected:
  MappedFileTest() {
    std::string name = (fs::temp_directory_path() / "edgewise-mapped-XXXXXX").string();
    folder_ = ::mkdtemp(name.data());
  }

  ~MappedFileTest() override { fs::remove_all(folder_); }

  fs::path write(const std::string& content) const {
    std::ofstream(folder_ / "file") << content;
    return folder_ / "file";
  }

  fs::path folder_;
};

TEST_F(MappedFileTest, ShowsTheBytesOfTheFileAfterItIsGone) {
  Result<MappedFile> file = MappedFile::open(write("hello"));
  ASSERT_TRUE(file.has_value()) << file.error().message;
  fs::remove(folder_ / "file");
  MappedFile moved = std::move(*file);
  ASSERT_EQ(moved.bytes().size(), 5U);
  EXPECT_EQ(std::memcmp(moved.bytes().data(), "hello", 5), 0);
}

TEST_F(MappedFileTest, AnEmptyFileHasNoBytes) {
  const Result<MappedFile> file = MappedFile::open(write(""));
  ASSERT_TRUE(file.has_value());
  EXPECT_TRUE(file->bytes().empty());
}

TEST_F(MappedFileTest, ReleasedPagesLeaveTheProcessAndComeBackOnUse) {
  const std::string content(32 << 20, 'x');
  const Result<MappedFile> file = MappedFile::open(write(content));
  ASSERT_TRUE(file.has_value());
  ASSERT_EQ(std::memcmp(file->bytes().data(), content.data(), content.size()), 0);
  const std::int64_t full = resident_bytes();
  file->release(file->bytes().subspan(1));
  EXPECT_LT(resident_bytes(), full - (24 << 20));
  EXPECT_EQ(std::memcmp(file->bytes().data(), content.data(), content.size()), 0);
}

TEST_F(MappedFileTest, ReleaseLeavesOtherMemoryAlone) {
  const Result<MappedFile> file = MappedFile::open(write("hello"));
  ASSERT_TRUE(file.has_value());
  std::vector<std::byte> other(1 << 20, std::byte{7});
  file->release(other);
  EXPECT_EQ(other, std::vector<std::byte>(1 << 20, std::byte{7}));
}

TEST_F(MappedFileTest, ErrorsNameTheFileAndTheReason) {
  const Result<MappedFile> missing = MappedFile::open(folder_ / "missing.gguf");
  ASSERT_FALSE(missing.has_value());
  EXPECT_EQ(missing.error().code, ErrorCode::kNotFound);
  EXPECT_NE(missing.error().message.find("missing.gguf"), std::string::npos);

  const Result<MappedFile> folder = MappedFile::open(folder_);
  ASSERT_FALSE(folder.has_value());
  EXPECT_EQ(folder.error().code, ErrorCode::kInvalidArgument);

  ASSERT_EQ(::mkfifo((folder_ / "pipe").c_str(), 0600), 0);
  EXPECT_FALSE(MappedFile::open(folder_ / "pipe").has_value());  // and does not wait for a writer
}

}  // namespace
}  // namespace edgewise::platform
