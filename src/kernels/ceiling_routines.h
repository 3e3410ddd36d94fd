// The loops that reach a machine's ceilings (ceilings.h), for each instruction set. Internal to src/kernels.
#pragma once

#include <cstdint>

namespace edgewise::kernels {

// A routine prefetches so many bytes beyond what it is to read: eight turns of one stream; 1-4 KiB measure alike.
inline constexpr std::int64_t kPrefetchAhead = 2048;

struct CeilingRoutines {
  // Reads all bytes, as that many interleaved streams.
  void (*read)(const char* data, std::int64_t bytes, int streams);
  // Return the multiply-adds done.
  double (*int8)(std::int64_t rounds);
  double (*f32)(std::int64_t rounds);
};

// The best that this machine runs.
CeilingRoutines select_ceiling_routines();

}  // namespace edgewise::kernels
