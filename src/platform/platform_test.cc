#include <gtest/gtest.h>
#include <sys/resource.h>
#include <unistd.h>

#include <atomic>
#include <fstream>
#include <numeric>
#include <thread>
#include <vector>

#include "platform/cgroup.h"
#include "platform/cpu.h"
#include "platform/mapped_file.h"
#include "platform/worker_pool.h"

namespace edgewise::platform {
namespace {

namespace fs = std::filesystem;

class Folder {
 public:
  Folder() : path_(fs::temp_directory_path() / fmt::format("edgewise-platform-{}", ::getpid())) { fs::create_directories(path_); }
  ~Folder() { fs::remove_all(path_); }
  const fs::path& path() const { return path_; }
  void write(const fs::path& name, const std::string& text) const {
    fs::create_directories((path_ / name).parent_path());
    std::ofstream(path_ / name) << text;
  }

 private:
  fs::path path_;
};

TEST(WorkerPool, VisitsEveryIndexOnce) {
  for (const int threads : {1, 2, 5}) {
    WorkerPool pool(threads);
    for (const std::int64_t count : {0, 1, 7, 1000}) {
      for (const std::int64_t grain : {1, 3, 64}) {
        std::vector<std::atomic<int>> visits(static_cast<std::size_t>(count));
        pool.parallel_for(count, grain, [&](std::int64_t begin, std::int64_t end, int worker) {
          EXPECT_LT(worker, threads);
          for (std::int64_t i = begin; i < end; ++i) {
            visits[static_cast<std::size_t>(i)].fetch_add(1);
          }
        });
        for (const auto& v : visits) {
          EXPECT_EQ(v.load(), 1);
        }
      }
    }
  }
}

TEST(WorkerPool, RunsManyShortLoopsAndLoopsAfterSleeping) {
  WorkerPool pool(3);
  std::atomic<std::int64_t> sum{0};
  for (int i = 0; i < 5000; ++i) {
    pool.run([&](int worker) { sum.fetch_add(worker); });
  }
  for (int i = 0; i < 20; ++i) {
    std::this_thread::sleep_for(std::chrono::milliseconds(1));  // longer than the spin: workers are asleep
    pool.run([&](int worker) { sum.fetch_add(worker); });
  }
  EXPECT_EQ(sum.load(), 5020 * 3);
}

TEST(WorkerPool, CostsNoCpuWhenIdle) {
  WorkerPool pool(2);
  pool.run([](int) {});
  std::this_thread::sleep_for(std::chrono::milliseconds(5));
  rusage before{}, after{};
  ::getrusage(RUSAGE_SELF, &before);
  std::this_thread::sleep_for(std::chrono::milliseconds(300));
  ::getrusage(RUSAGE_SELF, &after);
  const auto micros = [](const rusage& r) { return (r.ru_utime.tv_sec + r.ru_stime.tv_sec) * 1000000 + r.ru_utime.tv_usec + r.ru_stime.tv_usec; };
  EXPECT_LT(micros(after) - micros(before), 30000);
}

TEST(Cgroup, V2QuotaAndMemoryOfAParentCount) {
  Folder root;
  root.write("proc/self/cgroup", "0::/a/b\n");
  root.write("sys/fs/cgroup/a/cpu.max", "150000 100000\n");
  root.write("sys/fs/cgroup/a/b/cpu.max", "max 100000\n");
  root.write("sys/fs/cgroup/a/b/memory.max", "max\n");
  root.write("sys/fs/cgroup/a/memory.max", "1000000\n");
  root.write("sys/fs/cgroup/a/memory.current", "400000\n");
  const CgroupLimits limits = cgroup_limits(root.path());
  EXPECT_DOUBLE_EQ(limits.cpus.value(), 1.5);
  EXPECT_EQ(limits.memory_left_bytes.value(), 600000);
}

TEST(Cgroup, V1LimitsAreReadAndNoLimitIsNone) {
  Folder root;
  root.write("proc/self/cgroup", "5:cpu,cpuacct:/x\n4:memory:/x\n");
  root.write("sys/fs/cgroup/cpu/x/cpu.cfs_quota_us", "50000\n");
  root.write("sys/fs/cgroup/cpu/x/cpu.cfs_period_us", "100000\n");
  root.write("sys/fs/cgroup/memory/x/memory.limit_in_bytes", "9223372036854771712\n");
  const CgroupLimits limits = cgroup_limits(root.path());
  EXPECT_DOUBLE_EQ(limits.cpus.value(), 0.5);
  EXPECT_FALSE(limits.memory_left_bytes.has_value());
}

TEST(Cpu, ReportsPlausibleNumbers) {
  EXPECT_GE(usable_cpus(), 1);
  EXPECT_LE(usable_cpus(), static_cast<int>(std::thread::hardware_concurrency()));
  EXPECT_GT(available_memory_bytes(), 0);
  EXPECT_GT(resident_bytes(), 0);
  EXPECT_GE(peak_resident_bytes(), resident_bytes() / 2);
}

TEST(MappedFile, MapsReleasesAndReadsAgain) {
  Folder folder;
  folder.write("data", std::string(20000, 'x'));
  const auto file = MappedFile::open(folder.path() / "data");
  ASSERT_TRUE(file.has_value());
  EXPECT_EQ(file->bytes().size(), 20000U);
  file->release(file->bytes());
  EXPECT_EQ(file->bytes()[12345], std::byte{'x'});
}

TEST(MappedFile, SaysWhyItCannotOpen) {
  const auto missing = MappedFile::open("/nonexistent/model.gguf");
  ASSERT_FALSE(missing.has_value());
  EXPECT_EQ(missing.error().code, ErrorCode::kNotFound);
  EXPECT_NE(missing.error().message.find("/nonexistent/model.gguf"), std::string::npos);
  EXPECT_FALSE(MappedFile::open("/tmp").has_value());
}

}  // namespace
}  // namespace edgewise::platform
