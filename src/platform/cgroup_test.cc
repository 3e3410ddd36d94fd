#include "platform/cgroup.h"

#include <gtest/gtest.h>
#include <stdlib.h>

#include <fstream>
#include <string>

namespace edgewise::platform {
namespace {

namespace fs = std::filesystem;

constexpr const char* kV2Mount =
    "30 23 0:26 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate\n";
constexpr const char* kV1Mounts =
    "32 31 0:28 / /sys/fs/cgroup/systemd rw - cgroup systemd rw,name=systemd\n"
    "33 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw,nosuid shared:9 - cgroup cgroup rw,cpu,cpuacct\n"
    "34 31 0:30 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n";

// A folder that looks like "/" to the code under test.
class CgroupTest : public testing::Test {
 protected:
  CgroupTest() {
    std::string name = (fs::temp_directory_path() / "edgewise-cgroup-XXXXXX").string();
    root_ = ::mkdtemp(name.data());
  }

  ~CgroupTest() override { fs::remove_all(root_); }

  void write(const std::string& name, const std::string& text) const {
    fs::create_directories((root_ / name).parent_path());
    std::ofstream(root_ / name) << text;
  }

  CgroupLimits limits() const { return cgroup_limits(root_); }

  fs::path root_;
};

TEST_F(CgroupTest, V2QuotaOfAnAncestorBinds) {
  write("proc/self/cgroup", "0::/a/b\n");
  write("proc/self/mountinfo", kV2Mount);
  write("sys/fs/cgroup/a/cpu.max", "150000 100000\n");
  write("sys/fs/cgroup/a/b/cpu.max", "max 100000\n");
  EXPECT_DOUBLE_EQ(limits().cpus.value(), 1.5);
}

TEST_F(CgroupTest, V2SmallestQuotaBinds) {
  write("proc/self/cgroup", "0::/a/b\n");
  write("proc/self/mountinfo", kV2Mount);
  write("sys/fs/cgroup/a/cpu.max", "400000 100000\n");
  write("sys/fs/cgroup/a/b/cpu.max", "50000 100000\n");
  EXPECT_DOUBLE_EQ(limits().cpus.value(), 0.5);
}

TEST_F(CgroupTest, V2MemoryCountsPageCacheAsFree) {
  write("proc/self/cgroup", "0::/job\n");
  write("proc/self/mountinfo", kV2Mount);
  write("sys/fs/cgroup/job/memory.max", "1000000\n");
  write("sys/fs/cgroup/job/memory.high", "max\n");
  write("sys/fs/cgroup/job/memory.current", "700000\n");
  write("sys/fs/cgroup/job/memory.stat",
        "anon 400000\nfile 300000\ninactive_file 200000\nactive_file 100000\n");
  EXPECT_EQ(limits().memory_left_bytes.value(), 600'000);
}

TEST_F(CgroupTest, V2MemoryOfAnAncestorBindsEvenWhenUsedUp) {
  write("proc/self/cgroup", "0::/job/step\n");
  write("proc/self/mountinfo", kV2Mount);
  write("sys/fs/cgroup/job/memory.max", "1000\n");
  write("sys/fs/cgroup/job/memory.current", "2000\n");
  write("sys/fs/cgroup/job/step/memory.max", "max\n");
  EXPECT_EQ(limits().memory_left_bytes.value(), 0);
}

TEST_F(CgroupTest, V1QuotaAndMemoryAreRead) {
  write("proc/self/cgroup", "5:cpu,cpuacct:/x\n4:memory:/x\n1:name=systemd:/x\n0::/x\n");
  write("proc/self/mountinfo", kV1Mounts);
  write("sys/fs/cgroup/cpu,cpuacct/x/cpu.cfs_quota_us", "300000\n");
  write("sys/fs/cgroup/cpu,cpuacct/x/cpu.cfs_period_us", "100000\n");
  write("sys/fs/cgroup/memory/x/memory.limit_in_bytes", "5000\n");
  write("sys/fs/cgroup/memory/x/memory.usage_in_bytes", "3000\n");
  write("sys/fs/cgroup/memory/x/memory.stat", "total_inactive_file 500\n");
  EXPECT_DOUBLE_EQ(limits().cpus.value(), 3.0);
  EXPECT_EQ(limits().memory_left_bytes.value(), 2500);
}

TEST_F(CgroupTest, V1SpellsNoLimitAsMinusOneAndAHugeNumber) {
  write("proc/self/cgroup", "5:cpu,cpuacct:/x\n4:memory:/x\n");
  write("proc/self/mountinfo", kV1Mounts);
  write("sys/fs/cgroup/cpu,cpuacct/x/cpu.cfs_quota_us", "-1\n");
  write("sys/fs/cgroup/cpu,cpuacct/x/cpu.cfs_period_us", "100000\n");
  write("sys/fs/cgroup/memory/x/memory.limit_in_bytes", "9223372036854771712\n");
  EXPECT_FALSE(limits().cpus.has_value());
  EXPECT_FALSE(limits().memory_left_bytes.has_value());
}

TEST_F(CgroupTest, AContainerSeesItsOwnGroupAtTheMountPoint) {
  write("proc/self/cgroup", "5:cpu:/docker/abc\n");
  write("proc/self/mountinfo",
        "33 31 0:29 /docker/abc /sys/fs/cgroup/cpu ro - cgroup cgroup rw,cpu\n");
  write("sys/fs/cgroup/cpu/cpu.cfs_quota_us", "200000\n");
  write("sys/fs/cgroup/cpu/cpu.cfs_period_us", "100000\n");
  EXPECT_DOUBLE_EQ(limits().cpus.value(), 2.0);
}

TEST_F(CgroupTest, APathOutsideTheMountFallsBackToTheMountPoint) {
  write("proc/self/cgroup", "0::/../../elsewhere\n");
  write("proc/self/mountinfo", kV2Mount);
  write("sys/fs/cgroup/cpu.max", "100000 100000\n");
  EXPECT_DOUBLE_EQ(limits().cpus.value(), 1.0);
}

TEST_F(CgroupTest, NonsenseIsNoLimit) {
  EXPECT_FALSE(limits().cpus.has_value());
  write("proc/self/cgroup", "x\n::\n0::/a\n:cpu\n");
  write("proc/self/mountinfo", std::string(kV2Mount) + "\n1 2\n- - -\n");
  write("sys/fs/cgroup/a/cpu.max", "-5 0\n");
  write("sys/fs/cgroup/a/memory.max", "many\n");
  EXPECT_FALSE(limits().cpus.has_value());
  EXPECT_FALSE(limits().memory_left_bytes.has_value());
}

TEST_F(CgroupTest, AvailableMemoryOfTheMachine) {
  write("proc/meminfo", "MemTotal:       4000 kB\nMemFree:   100 kB\nMemAvailable:    2000 kB\n");
  EXPECT_EQ(read_available_memory_bytes(root_).value(), 2000 * 1024);
  EXPECT_FALSE(read_available_memory_bytes(root_ / "nowhere").has_value());
}

}  // namespace
}  // namespace edgewise::platform
