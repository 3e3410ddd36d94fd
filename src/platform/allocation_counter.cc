#include "platform/allocation_counter.h"

#include <atomic>
#include <cerrno>
#include <cstddef>

#include "base/check.h"

#if defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define EDGEWISE_OTHER_MALLOC
#endif
#elif defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define EDGEWISE_OTHER_MALLOC
#endif

namespace edgewise::platform {
namespace {

std::atomic<bool> counting{false};
std::atomic<std::int64_t> allocations{0};

}  // namespace

AllocationCounter::AllocationCounter() {
  CHECK(!counting.exchange(true), "two counters at a time");
  allocations = 0;
}

AllocationCounter::~AllocationCounter() {
  counting = false;
}

std::int64_t AllocationCounter::count() const {
  return allocations;
}

#ifdef EDGEWISE_OTHER_MALLOC

bool AllocationCounter::works() {
  return false;
}

}  // namespace edgewise::platform

#else

bool AllocationCounter::works() {
  return true;
}

namespace {

void note() {
  if (counting.load(std::memory_order_relaxed)) {
    allocations.fetch_add(1, std::memory_order_relaxed);
  }
}

}  // namespace
}  // namespace edgewise::platform

// The GNU C library's own, under their second names.
extern "C" {
void* __libc_malloc(std::size_t bytes);
void* __libc_calloc(std::size_t count, std::size_t bytes);
void* __libc_realloc(void* memory, std::size_t bytes);
void* __libc_memalign(std::size_t alignment, std::size_t bytes);

void* malloc(std::size_t bytes) noexcept {
  edgewise::platform::note();
  return __libc_malloc(bytes);
}

void* calloc(std::size_t count, std::size_t bytes) noexcept {
  edgewise::platform::note();
  return __libc_calloc(count, bytes);
}

void* realloc(void* memory, std::size_t bytes) noexcept {
  edgewise::platform::note();
  return __libc_realloc(memory, bytes);
}

void* aligned_alloc(std::size_t alignment, std::size_t bytes) noexcept {
  edgewise::platform::note();
  return __libc_memalign(alignment, bytes);
}

void* memalign(std::size_t alignment, std::size_t bytes) noexcept {
  edgewise::platform::note();
  return __libc_memalign(alignment, bytes);
}

int posix_memalign(void** memory, std::size_t alignment, std::size_t bytes) noexcept {
  edgewise::platform::note();
  void* allocated = __libc_memalign(alignment, bytes);
  if (allocated == nullptr) {
    return ENOMEM;
  }
  *memory = allocated;
  return 0;
}
}

#endif
