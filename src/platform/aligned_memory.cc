#include "platform/aligned_memory.h"

#include <sys/mman.h>

#include <algorithm>
#include <new>

namespace edgewise::platform {

void* allocate_aligned(std::size_t bytes) {
  constexpr std::size_t kLine = 64;
  constexpr std::size_t kHugePage = std::size_t{2} << 20U;
  const std::size_t unit = bytes >= kHugePage ? kHugePage : kLine;
  const std::size_t rounded = std::max(unit, (bytes + unit - 1) / unit * unit);
  void* memory = std::aligned_alloc(unit, rounded);
  if (memory == nullptr) {
    throw std::bad_alloc();
  }
  if (unit == kHugePage) {
    ::madvise(memory, rounded, MADV_HUGEPAGE);  // a hint: where it fails, pages are small
  }
  return memory;
}

}  // namespace edgewise::platform
