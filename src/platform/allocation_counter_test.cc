#include "platform/allocation_counter.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <new>
#include <thread>

#include "platform/aligned_memory.h"

namespace edgewise::platform {
namespace {

TEST(AllocationCounter, SeesEveryKindOnEveryThread) {
  if (!AllocationCounter::works()) {
    GTEST_SKIP() << "a sanitizer has malloc()";
  }
  const auto count_of = [](auto&& body) {
    const AllocationCounter counter;
    body();
    return counter.count();
  };
  EXPECT_EQ(count_of([] {}), 0);
  EXPECT_EQ(count_of([] { ::operator delete(::operator new(100)); }), 1);
  EXPECT_EQ(count_of([] {
              constexpr std::align_val_t kLine{64};
              ::operator delete(::operator new(100, kLine), kLine);
            }),
            1);
  EXPECT_EQ(count_of([] { aligned_array<float>(100); }), 1);
  void* volatile memory = nullptr;
  EXPECT_EQ(count_of([&] { memory = std::malloc(10); }), 1);
  EXPECT_EQ(count_of([&] { memory = std::realloc(memory, 1000); }), 1);
  std::free(memory);
  EXPECT_EQ(count_of([&] { memory = std::calloc(10, 10); }), 1);
  std::free(memory);
  EXPECT_GE(count_of([] { std::thread([] { ::operator delete(::operator new(100)); }).join(); }),
            2);  // the thread's state and its own
}

}  // namespace
}  // namespace edgewise::platform
