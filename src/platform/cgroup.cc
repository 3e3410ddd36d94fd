// Formats: man 5 proc (mountinfo), man 7 cgroups, and the kernel's cgroup-v1/memory.rst and
// cgroup-v2.rst.
#include "platform/cgroup.h"

#include <algorithm>
#include <charconv>
#include <fstream>
#include <limits>
#include <sstream>
#include <string>
#include <string_view>
#include <vector>

namespace edgewise::platform {
namespace {

namespace fs = std::filesystem;

// Version 1 writes "no limit" as a huge page-rounded number (about 2^63).
constexpr std::int64_t kNoLimitBytes = std::int64_t{1} << 60;

std::optional<std::int64_t> parse_int(std::string_view text) {
  std::int64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc()) {
    return std::nullopt;
  }
  return value;
}

std::optional<std::string> read_line(const fs::path& path) {
  std::ifstream file(path);
  std::string line;
  if (!std::getline(file, line)) {
    return std::nullopt;
  }
  return line;
}

std::optional<std::int64_t> read_int(const fs::path& path) {
  const std::optional<std::string> line = read_line(path);
  return line ? parse_int(*line) : std::nullopt;
}

// Files like memory.stat: "name value" lines.
std::int64_t read_stat(const fs::path& path, std::string_view name) {
  std::ifstream file(path);
  std::string key;
  std::int64_t value = 0;
  while (file >> key >> value) {
    if (key == name) {
      return value;
    }
  }
  return 0;
}

bool has_word(std::string_view comma_list, std::string_view word) {
  while (!comma_list.empty()) {
    const std::size_t comma = std::min(comma_list.find(','), comma_list.size());
    if (comma_list.substr(0, comma) == word) {
      return true;
    }
    comma_list.remove_prefix(std::min(comma + 1, comma_list.size()));
  }
  return false;
}

struct Mount {
  fs::path root;   // the part of the hierarchy that is mounted
  fs::path point;  // where
  bool v2 = false;
  std::string controllers;  // v1
};

std::vector<Mount> read_cgroup_mounts(const fs::path& root) {
  std::vector<Mount> mounts;
  std::ifstream file(root / "proc/self/mountinfo");
  std::string line;
  while (std::getline(file, line)) {
    // "36 35 98:0 <root> <mount point> <options> [optional fields] - <type> <source> <super
    // options>"
    std::istringstream fields(line);
    std::string id, parent, device, word;
    Mount mount;
    std::string mount_root, point, type, source, super_options;
    fields >> id >> parent >> device >> mount_root >> point;
    while (fields >> word && word != "-") {
    }
    fields >> type >> source >> super_options;
    if (type != "cgroup" && type != "cgroup2") {
      continue;
    }
    mounts.push_back(
        {mount_root, root / fs::path(point).relative_path(), type == "cgroup2", super_options});
  }
  return mounts;
}

// The process's folder in the hierarchy of `controller` and all folders above it, innermost first.
struct Hierarchy {
  std::vector<fs::path> folders;
  bool v2 = false;
};

std::vector<Hierarchy> find_hierarchies(const fs::path& root, std::string_view controller) {
  const std::vector<Mount> mounts = read_cgroup_mounts(root);
  std::vector<Hierarchy> found;
  std::ifstream file(root / "proc/self/cgroup");
  std::string line;
  while (std::getline(
      file, line)) {  // "<id>:<controllers>:<path>"; version 2 has id 0 and no controllers
    const std::size_t first = line.find(':');
    const std::size_t second = first == std::string::npos ? first : line.find(':', first + 1);
    if (second == std::string::npos) {
      continue;
    }
    const std::string_view controllers =
        std::string_view(line).substr(first + 1, second - first - 1);
    const bool v2 = controllers.empty();
    if (!v2 && !has_word(controllers, controller)) {
      continue;
    }
    const auto mount = std::find_if(mounts.begin(), mounts.end(), [&](const Mount& m) {
      return m.v2 == v2 && (v2 || has_word(m.controllers, controller));
    });
    if (mount == mounts.end()) {
      continue;
    }
    // A container may see only its own part of the hierarchy: the path is then relative to that
    // part, and a path outside of it leaves the mount point as the only visible folder.
    fs::path relative = fs::path(line.substr(second + 1)).lexically_relative(mount->root);
    if (relative.empty() || *relative.begin() == "..") {
      relative = ".";
    }
    Hierarchy hierarchy;
    hierarchy.v2 = v2;
    for (; relative != "." && !relative.empty(); relative = relative.parent_path()) {
      hierarchy.folders.push_back(mount->point / relative);
    }
    hierarchy.folders.push_back(mount->point);
    found.push_back(std::move(hierarchy));
  }
  return found;
}

std::optional<double> cpu_quota(const fs::path& folder, bool v2) {
  std::int64_t quota = 0;
  std::int64_t period = 0;
  if (v2) {
    std::istringstream fields(
        read_line(folder / "cpu.max").value_or(""));  // "max 100000" or "50000 100000"
    if (!(fields >> quota >> period)) {
      return std::nullopt;
    }
  } else {
    quota = read_int(folder / "cpu.cfs_quota_us").value_or(-1);
    period = read_int(folder / "cpu.cfs_period_us").value_or(0);
  }
  if (quota <= 0 || period <= 0) {
    return std::nullopt;
  }
  return static_cast<double>(quota) / static_cast<double>(period);
}

std::optional<std::int64_t> memory_left(const fs::path& folder, bool v2) {
  std::int64_t limit = std::numeric_limits<std::int64_t>::max();
  if (v2) {
    // Above memory.high a process is slowed to a crawl, so it counts as a limit.
    limit = std::min(read_int(folder / "memory.max").value_or(limit),
                     read_int(folder / "memory.high").value_or(limit));
  } else {
    limit = read_int(folder / "memory.limit_in_bytes").value_or(limit);
  }
  if (limit >= kNoLimitBytes || limit < 0) {
    return std::nullopt;
  }
  const fs::path stat = folder / "memory.stat";
  const std::string prefix = v2 ? "" : "total_";
  const std::int64_t used =
      read_int(folder / (v2 ? "memory.current" : "memory.usage_in_bytes")).value_or(0);
  const std::int64_t reclaimable =
      read_stat(stat, prefix + "inactive_file") + read_stat(stat, prefix + "active_file");
  return std::clamp<std::int64_t>(limit - used + reclaimable, 0, limit);
}

template <typename T>
void take_smaller(std::optional<T>& smallest, std::optional<T> value) {
  if (value && (!smallest || *value < *smallest)) {
    smallest = value;
  }
}

}  // namespace

CgroupLimits cgroup_limits(const fs::path& root) {
  CgroupLimits limits;
  for (const Hierarchy& hierarchy : find_hierarchies(root, "cpu")) {
    for (const fs::path& folder : hierarchy.folders) {
      take_smaller(limits.cpus, cpu_quota(folder, hierarchy.v2));
    }
  }
  for (const Hierarchy& hierarchy : find_hierarchies(root, "memory")) {
    for (const fs::path& folder : hierarchy.folders) {
      take_smaller(limits.memory_left_bytes, memory_left(folder, hierarchy.v2));
    }
  }
  return limits;
}

std::optional<std::int64_t> read_available_memory_bytes(const fs::path& root) {
  std::ifstream file(root / "proc/meminfo");
  std::string line;
  while (std::getline(file, line)) {  // "MemAvailable:   12345 kB"
    std::istringstream fields(line);
    std::string name;
    std::int64_t kibibytes = 0;
    if (fields >> name >> kibibytes && name == "MemAvailable:") {
      return kibibytes * 1024;
    }
  }
  return std::nullopt;
}

}  // namespace edgewise::platform
