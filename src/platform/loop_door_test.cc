#include "platform/loop_door.h"

#include <gtest/gtest.h>

#include <thread>
#include <vector>

namespace edgewise::platform {
namespace {

TEST(LoopDoor, IsClosedBeforeTheFirstLoop) {
  LoopDoor door;
  std::uint32_t loop = 7;
  EXPECT_FALSE(door.enter(loop));
  EXPECT_EQ(loop, 0U);
}

TEST(LoopDoor, CountsWhoCameInAndWhoIsInside) {
  LoopDoor door;
  door.open_next();
  std::uint32_t loop = 0;
  EXPECT_TRUE(door.enter(loop));
  EXPECT_EQ(loop, 1U);
  EXPECT_TRUE(door.enter(loop));
  door.leave();
  EXPECT_EQ(door.entered(), 2);
  EXPECT_EQ(door.inside(), 1);
}

TEST(LoopDoor, WhoComesTooLateStaysOutAndIsNotWaitedFor) {
  LoopDoor door;
  door.open_next();
  door.close();
  std::uint32_t loop = 0;
  EXPECT_FALSE(door.enter(loop));
  EXPECT_EQ(loop, 1U);  // so that the late one does not try again
  EXPECT_EQ(door.inside(), 0);
}

TEST(LoopDoor, TheNextLoopIsOpenAndEmpty) {
  LoopDoor door;
  std::uint32_t loop = 0;
  for (std::uint32_t number = 1; number <= 3; ++number) {
    door.open_next();
    EXPECT_EQ(door.loop(), number);
    EXPECT_EQ(door.entered(), 0);
    EXPECT_TRUE(door.enter(loop));
    door.close();
    EXPECT_EQ(door.inside(), 1) << "closing sends nobody away";
    door.leave();
  }
}

// Whoever is inside sees what the caller wrote before the loop, and the caller, once nobody is inside, what they wrote.
// Plain variables: TSan sees a race if the door lets anybody in after the caller found it closed and empty.
TEST(LoopDoor, NobodyIsInsideOnceItIsClosedAndEmpty) {
  constexpr int kWorkers = 3;
  LoopDoor door;
  std::int64_t shared = 0;
  std::int64_t own[kWorkers] = {};
  std::int64_t visits[kWorkers] = {};
  std::vector<std::thread> workers;
  for (int w = 0; w < kWorkers; ++w) {
    workers.emplace_back([&, w] {
      for (std::uint32_t seen = 0;;) {
        if (door.loop() == seen || !door.enter(seen)) {
          std::this_thread::yield();
          continue;
        }
        const bool last = shared < 0;
        own[w] = shared;
        ++visits[w];
        door.leave();
        if (last) {
          return;
        }
      }
    });
  }
  for (std::int64_t i = 1; i <= 3'000; ++i) {
    shared = i;
    door.open_next();
    if (i % 3 == 0) {
      std::this_thread::yield();
    }
    door.close();
    while (door.inside() > 0) {
      std::this_thread::yield();
    }
    for (const std::int64_t seen : own) {
      ASSERT_LE(seen, i);
    }
  }
  shared = -1;
  door.open_next();  // and leave it open until all have come
  for (std::thread& worker : workers) {
    worker.join();
  }
  EXPECT_EQ(door.entered(), kWorkers);
  for (const std::int64_t count : visits) {
    EXPECT_GE(count, 1);
  }
}

}  // namespace
}  // namespace edgewise::platform
