// Test only: counts the process's allocations, on all threads. The test binary that links allocation_counter.cc gets its
// malloc() and kin, which operator new and aligned_array() call, in place of the C library's.
#pragma once

#include <cstdint>

namespace edgewise::platform {

// Counts while it lives; one at a time.
class AllocationCounter {
 public:
  AllocationCounter();
  ~AllocationCounter();
  AllocationCounter(const AllocationCounter&) = delete;
  AllocationCounter& operator=(const AllocationCounter&) = delete;

  std::int64_t count() const;

  // False under AddressSanitizer and ThreadSanitizer, which stand in for malloc() themselves: nothing is counted.
  static bool works();
};

}  // namespace edgewise::platform
