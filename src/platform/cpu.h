// What this machine and this process's cgroup offer: instruction sets, CPUs, memory.
#pragma once

#include <cstdint>
#include <string>

namespace edgewise::platform {

// Number of threads worth running: the smaller of the affinity mask and the cgroup (v1 or v2) CPU quota,
// at least 1. Never the number of CPUs that merely exist.
int usable_cpus();

// Bytes of memory this process may still take: the smaller of what the machine has available and what its
// cgroup leaves.
std::int64_t available_memory_bytes();

std::int64_t resident_bytes();       // of this process, now
std::int64_t peak_resident_bytes();  // of this process, so far

std::string cpu_model_name();

struct CpuFeatures {
  bool avx2_fma_f16c = false;
  bool avx_vnni = false;     // and the above
  bool avx512 = false;       // F, BW, VL, DQ
  bool avx512_vnni = false;  // and the above
  bool amx_int8 = false;     // and permitted by the kernel for this process
  bool dotprod = false;      // 64-bit ARM: sdot
  bool i8mm = false;         // 64-bit ARM: smmla
};

const CpuFeatures& cpu_features();

}  // namespace edgewise::platform
