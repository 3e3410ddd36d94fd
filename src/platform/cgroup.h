// What the control groups (v1, v2 or both) leave to this process. Reads /proc and /sys on each
// call.
//
// A limit of any ancestor binds too, so each look-up walks from the process's own group up to the
// mount.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>

namespace edgewise::platform {

struct CgroupLimits {
  std::optional<double> cpus;  // CPU time per wall time; nullopt: no quota
  std::optional<std::int64_t>
      memory_left_bytes;  // limit - use + reclaimable page cache; nullopt: no limit
};

// `root` is "/" outside of tests, which give a folder with a made-up proc/self/{cgroup,mountinfo}
// and sys/fs/cgroup. Whatever cannot be read or parsed counts as "no limit".
CgroupLimits cgroup_limits(const std::filesystem::path& root);

// MemAvailable of <root>/proc/meminfo in bytes; nullopt when it cannot be read.
std::optional<std::int64_t> read_available_memory_bytes(const std::filesystem::path& root);

}  // namespace edgewise::platform
