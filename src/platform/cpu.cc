#include "platform/cpu.h"

#include <sched.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <limits>
#include <optional>
#include <sstream>

#include "platform/cgroup.h"

namespace edgewise::platform {
namespace {

// The number after `key` in a "key:   123 kB" file such as /proc/meminfo, in bytes.
std::optional<std::int64_t> kilobytes_field(const char* path, std::string_view key) {
  std::ifstream file(path);
  std::string line;
  while (std::getline(file, line)) {
    if (line.starts_with(key) && line.size() > key.size() && line[key.size()] == ':') {
      std::istringstream rest(line.substr(key.size() + 1));
      std::int64_t value = 0;
      if (rest >> value) {
        return value * 1024;
      }
    }
  }
  return std::nullopt;
}

#if defined(__x86_64__)
// Linux grants the AMX tile state only on request (arch_prctl(2)).
bool amx_permitted() {
  constexpr int kRequestPermission = 0x1023;  // ARCH_REQ_XCOMP_PERM
  constexpr int kTileData = 18;
  return ::syscall(SYS_arch_prctl, kRequestPermission, kTileData) == 0;
}

bool cpu_has_amx_int8() {
  unsigned eax = 7, ebx = 0, ecx = 0, edx = 0;
  __asm__ volatile("cpuid" : "+a"(eax), "=b"(ebx), "+c"(ecx), "=d"(edx));
  return (edx >> 24U & 1U) != 0 && (edx >> 25U & 1U) != 0;
}
#endif

}  // namespace

int usable_cpus() {
  cpu_set_t set;
  CPU_ZERO(&set);
  int cpus = ::sched_getaffinity(0, sizeof set, &set) == 0 ? CPU_COUNT(&set) : 1;
  if (const std::optional<double> quota = cgroup_limits("/").cpus) {
    cpus = std::min(cpus, static_cast<int>(std::ceil(*quota)));
  }
  return std::max(1, cpus);
}

std::int64_t available_memory_bytes() {
  std::int64_t available = kilobytes_field("/proc/meminfo", "MemAvailable").value_or(std::int64_t{1} << 30);
  if (const std::optional<std::int64_t> left = cgroup_limits("/").memory_left_bytes) {
    available = std::min(available, *left);
  }
  return std::max<std::int64_t>(0, available);
}

std::int64_t resident_bytes() { return kilobytes_field("/proc/self/status", "VmRSS").value_or(0); }

std::int64_t peak_resident_bytes() { return kilobytes_field("/proc/self/status", "VmHWM").value_or(0); }

std::string cpu_model_name() {
  std::ifstream file("/proc/cpuinfo");
  std::string line;
  while (std::getline(file, line)) {
    if (line.starts_with("model name")) {
      const std::size_t colon = line.find(": ");
      return colon == std::string::npos ? line : line.substr(colon + 2);
    }
  }
  return "unknown CPU";
}

const CpuFeatures& cpu_features() {
  static const CpuFeatures kFeatures = [] {
    CpuFeatures features;
#if defined(__x86_64__)
    features.avx2_fma_f16c = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("f16c");
    features.avx512 = features.avx2_fma_f16c && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                      __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq");
    features.avx512_vnni = features.avx512 && __builtin_cpu_supports("avx512vnni");
    features.amx_int8 = features.avx512_vnni && cpu_has_amx_int8() && amx_permitted();
#endif
    return features;
  }();
  return kFeatures;
}

}  // namespace edgewise::platform
