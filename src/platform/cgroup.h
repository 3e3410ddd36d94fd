// CPU and memory limits that a control group (v1 or v2) puts on this process.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>

namespace edgewise::platform {

struct CgroupLimits {
  std::optional<double> cpus;                       // quota / period, smallest on the way to the root
  std::optional<std::int64_t> memory_left_bytes;    // limit - usage, smallest on the way to the root
};

// Reads <root>/proc/self/cgroup and <root>/sys/fs/cgroup; "/" outside of tests.
CgroupLimits cgroup_limits(const std::filesystem::path& root);

}  // namespace edgewise::platform
