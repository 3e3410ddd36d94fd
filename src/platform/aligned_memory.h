// Working memory of kernels: arrays that begin on a cache line, large ones in huge pages where the kernel has them. Rows
// far apart would else cost an address translation each, which takes longest in a virtual machine.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <type_traits>

namespace edgewise::platform {

// Uninitialized; for std::free(). From 2 MiB on, the size is rounded up to whole huge pages. Throws std::bad_alloc.
void* allocate_aligned(std::size_t bytes);

struct Free {
  void operator()(void* memory) const { std::free(memory); }
};

template <typename T>
using AlignedArray = std::unique_ptr<T[], Free>;

template <typename T>
AlignedArray<T> aligned_array(std::int64_t count) {
  static_assert(std::is_trivially_destructible_v<T> && alignof(T) <= 64);
  return AlignedArray<T>(
      static_cast<T*>(allocate_aligned(static_cast<std::size_t>(count) * sizeof(T))));
}

}  // namespace edgewise::platform
