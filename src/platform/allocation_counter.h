// Test only: counts the process's calls of malloc() and its kin (not of mmap()), on all threads. The test binary that links
// allocation_counter.cc gets its own of these, which operator new and aligned_array() call, in place of the C library's.
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
