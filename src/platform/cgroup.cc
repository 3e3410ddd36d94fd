#include "platform/cgroup.h"

#include <algorithm>
#include <fstream>
#include <string>

namespace edgewise::platform {
namespace {

namespace fs = std::filesystem;

// Numbers at or above this are how cgroup v1 spells "no limit".
constexpr std::int64_t kNoLimit = std::int64_t{1} << 60;

std::optional<std::int64_t> read_number(const fs::path& path) {
  std::ifstream file(path);
  std::int64_t value = 0;
  if (file >> value) {
    return value;
  }
  return std::nullopt;
}

template <typename T>
void lower(std::optional<T>& limit, T value) {
  limit = limit ? std::min(*limit, value) : value;
}

void apply_memory(CgroupLimits& limits, std::optional<std::int64_t> limit, std::optional<std::int64_t> usage) {
  if (limit && *limit < kNoLimit) {
    lower(limits.memory_left_bytes, *limit - usage.value_or(0));
  }
}

void apply_v2(CgroupLimits& limits, const fs::path& folder) {
  std::ifstream max(folder / "cpu.max");  // "max 100000" or "150000 100000"
  std::string quota;
  double period = 0;
  if (max >> quota >> period && quota != "max" && period > 0) {
    lower(limits.cpus, std::strtod(quota.c_str(), nullptr) / period);
  }
  apply_memory(limits, read_number(folder / "memory.max"), read_number(folder / "memory.current"));
}

void apply_v1_cpu(CgroupLimits& limits, const fs::path& folder) {
  const auto quota = read_number(folder / "cpu.cfs_quota_us");
  const auto period = read_number(folder / "cpu.cfs_period_us");
  if (quota && period && *quota > 0 && *period > 0) {
    lower(limits.cpus, static_cast<double>(*quota) / static_cast<double>(*period));
  }
}

// Calls apply on base/path and each of its parents down to base.
template <typename Apply>
void walk_up(const fs::path& base, const fs::path& path, Apply apply) {
  fs::path here = path.relative_path();
  while (true) {
    apply(base / here);
    if (here.empty()) {
      return;
    }
    here = here.parent_path();
  }
}

}  // namespace

CgroupLimits cgroup_limits(const fs::path& root) {
  CgroupLimits limits;
  const fs::path base = root / "sys/fs/cgroup";
  std::ifstream file(root / "proc/self/cgroup");
  std::string line;  // "0::/user.slice" or "4:cpu,cpuacct:/docker/abc"
  while (std::getline(file, line)) {
    const std::size_t first = line.find(':');
    const std::size_t second = line.find(':', first + 1);
    if (first == std::string::npos || second == std::string::npos) {
      continue;
    }
    const std::string controllers = "," + line.substr(first + 1, second - first - 1) + ",";
    const fs::path path = line.substr(second + 1);
    if (controllers == ",,") {
      walk_up(base, path, [&](const fs::path& folder) { apply_v2(limits, folder); });
    }
    if (controllers.find(",cpu,") != std::string::npos) {
      walk_up(base / "cpu", path, [&](const fs::path& folder) { apply_v1_cpu(limits, folder); });
    }
    if (controllers.find(",memory,") != std::string::npos) {
      walk_up(base / "memory", path, [&](const fs::path& folder) {
        apply_memory(limits, read_number(folder / "memory.limit_in_bytes"), read_number(folder / "memory.usage_in_bytes"));
      });
    }
  }
  return limits;
}

}  // namespace edgewise::platform
