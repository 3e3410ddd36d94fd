#include "platform/cpu.h"

#include <sched.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <fstream>
#include <sstream>
#include <string>
#include <vector>

#if defined(__x86_64__)
#include <cpuid.h>
#elif defined(__aarch64__)
#include <sys/auxv.h>
#endif

#include "platform/cgroup.h"

namespace edgewise::platform {
namespace {

int affinity_cpus() {
  // The raw call takes any size of mask; glibc's cpu_set_t ends at 1024 CPUs.
  std::vector<unsigned long> mask(8192 / (8 * sizeof(unsigned long)));
  const long bytes =
      ::syscall(SYS_sched_getaffinity, 0, mask.size() * sizeof(mask[0]), mask.data());
  if (bytes <= 0) {
    return static_cast<int>(std::max(1L, ::sysconf(_SC_NPROCESSORS_ONLN)));
  }
  int count = 0;
  for (const unsigned long word : mask) {
    count += std::popcount(word);
  }
  return std::max(1, count);
}

// "VmRSS:     1234 kB" of /proc/self/status, in bytes; 0 when it cannot be read.
std::int64_t own_status_bytes(std::string_view name) {
  std::ifstream file("/proc/self/status");
  std::string line;
  while (std::getline(file, line)) {
    std::istringstream fields(line);
    std::string key;
    std::int64_t kibibytes = 0;
    if (fields >> key >> kibibytes && key == name) {
      return kibibytes * 1024;
    }
  }
  return 0;
}

#if defined(__x86_64__)

// The tile registers enlarge each thread's saved state, so the kernel hands them out on request
// only (Linux Documentation/arch/x86/xstate.rst). The permission holds for all threads of the
// process.
bool request_amx_permission() {
  constexpr long kRequestPermission = 0x1023;  // ARCH_REQ_XCOMP_PERM
  constexpr long kTileData = 18;               // XFEATURE_XTILE_DATA
  return ::syscall(SYS_arch_prctl, kRequestPermission, kTileData) == 0;
}

CpuFeatures detect_features() {
  __builtin_cpu_init();
  CpuFeatures features;
  features.avx2_fma_f16c = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") &&
                           __builtin_cpu_supports("f16c");
  features.avx512 = features.avx2_fma_f16c && __builtin_cpu_supports("avx512f") &&
                    __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl") &&
                    __builtin_cpu_supports("avx512dq");
  features.avx512_vnni = features.avx512 && __builtin_cpu_supports("avx512vnni");
  unsigned eax = 0, ebx = 0, ecx = 0, edx = 0;
  if (__get_cpuid_count(7, 1, &eax, &ebx, &ecx, &edx) != 0) {
    features.avx_vnni = features.avx2_fma_f16c && (eax >> 4) & 1U;
  }
  if (__get_cpuid_count(7, 0, &eax, &ebx, &ecx, &edx) != 0) {
    const bool tile = (edx >> 24) & 1U;  // Intel SDM volume 2A, CPUID leaf 7: AMX-TILE, AMX-INT8
    const bool int8 = (edx >> 25) & 1U;
    features.amx_int8 = features.avx512_vnni && tile && int8 && request_amx_permission();
  }
  return features;
}

#elif defined(__aarch64__)

CpuFeatures detect_features() {
  constexpr unsigned long kDotProduct = 1UL
                                        << 20U;  // Linux Documentation/arch/arm64/elf_hwcaps.rst
  constexpr unsigned long kInt8MatrixProduct = 1UL << 13U;
  CpuFeatures features;
  features.dotprod = (::getauxval(AT_HWCAP) & kDotProduct) != 0;
  features.i8mm = (::getauxval(AT_HWCAP2) & kInt8MatrixProduct) != 0;
  return features;
}

#else

CpuFeatures detect_features() {
  return {};
}

#endif

}  // namespace

int usable_cpus() {
  const int allowed = affinity_cpus();
  const std::optional<double> quota = cgroup_limits("/").cpus;
  if (!quota) {
    return allowed;
  }
  // To the nearest: one thread too many is throttled in bursts, one too few leaves most of a CPU
  // unused.
  return static_cast<int>(std::clamp(std::round(*quota), 1.0, static_cast<double>(allowed)));
}

std::int64_t available_memory_bytes() {
  const std::int64_t free_pages =
      std::int64_t{::sysconf(_SC_AVPHYS_PAGES)} * ::sysconf(_SC_PAGESIZE);
  const std::int64_t machine = read_available_memory_bytes("/").value_or(free_pages);
  return std::min(machine, cgroup_limits("/").memory_left_bytes.value_or(machine));
}

std::int64_t resident_bytes() {
  return own_status_bytes("VmRSS:");
}

std::int64_t peak_resident_bytes() {
  return own_status_bytes("VmHWM:");
}

std::string cpu_model_name() {
  std::ifstream file("/proc/cpuinfo");
  std::string line;
  while (std::getline(file, line)) {
    if (line.starts_with("model name")) {
      const std::size_t colon = line.find(':');
      const std::size_t begin =
          colon == std::string::npos ? colon : line.find_first_not_of(" \t", colon + 1);
      return begin == std::string::npos ? "unknown" : line.substr(begin);
    }
  }
  return "unknown";
}

const CpuFeatures& cpu_features() {
  static const CpuFeatures kFeatures = detect_features();
  return kFeatures;
}

}  // namespace edgewise::platform
