// What this machine can do at best, measured: the yardstick for speed figures. Takes two to three
// seconds and, for that time, 512 MiB of memory a thread (less where less is free).
//
//   memory   sequential reads by all threads, each through its own buffer larger than any
//            cache, as 1, 2, 4 or 8 interleaved streams with software prefetch; the best run
//   int8     multiply-adds of 8-bit integers out of registers: AVX-512 VNNI or AVX-VNNI where
//            present, else AVX2 maddubs with 16-bit sums of four products (what 4-bit weights
//            allow), else plain C++
//   f32      fused multiply-adds out of registers
#pragma once

#include "base/result.h"
#include "platform/worker_pool.h"

namespace edgewise::kernels {

struct Ceilings {
  double dram_gb_per_s = 0.0;    // 1e9 bytes
  double int8_gmac_per_s = 0.0;  // 1e9 multiply-adds
  double f32_gmac_per_s = 0.0;
};

// Uses all workers of the pool.
Result<Ceilings> measure_ceilings(platform::WorkerPool& pool);

// The f32 ceiling alone, one run of about 30 ms: for measurements that interleave it with their own.
double measure_f32_gmac_per_s(platform::WorkerPool& pool);

}  // namespace edgewise::kernels
