#include "platform/turn.h"

#include <gtest/gtest.h>

#include <array>
#include <atomic>
#include <memory>
#include <thread>
#include <vector>

namespace edgewise::platform {
namespace {

using namespace std::chrono_literals;

// Time that passes only when told to; read from several threads.
class ManualClock {
 public:
  std::function<Turn::Clock::time_point()> reader() {
    return [this] { return Turn::Clock::time_point(std::chrono::nanoseconds(ns_.load())); };
  }

  void pass(double seconds) { ns_ += static_cast<std::int64_t>(seconds * 1e9); }

 private:
  std::atomic<std::int64_t> ns_ = 1'000'000'000;
};

TEST(Turn, IsAlwaysHisWhoIsAlone) {
  ManualClock clock;
  Turn turn(clock.reader());
  Turn::Seat seat(turn);
  seat.leave();  // without having taken it
  for (int i = 0; i < 5; ++i) {
    seat.take();
    clock.pass(0.5);
  }
  seat.leave();
  seat.take();
  EXPECT_EQ(seat.waited_seconds(), 0.0);
  EXPECT_EQ(seat.outlook().share, 1.0);
  EXPECT_FALSE(seat.outlook().is_shared);
}

TEST(Turn, OnlyOneHasIt) {
  Turn turn;
  int inside = 0;  // no atomic: ThreadSanitizer sees whether the turn orders them
  int steps = 0;
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([&, i] {
      Turn::Seat seat(turn);
      for (int step = 0; step < 500; ++step) {
        seat.take();
        EXPECT_EQ(++inside, 1);
        ++steps;
        --inside;
        if ((step + i) % 7 == 0) {
          seat.leave();
        }
      }
    });
  }
  for (std::thread& thread : threads) {
    thread.join();
  }
  EXPECT_EQ(steps, 2000);
}

TEST(Turn, IsFairInTimeAndNotInSteps) {
  Turn turn;
  std::atomic<bool> is_over = false;
  std::array<std::chrono::duration<double>, 2> had = {};
  std::array<int, 2> steps = {};
  const auto compute = [&](std::size_t who, std::chrono::milliseconds step) {
    Turn::Seat seat(turn);
    while (!is_over) {
      seat.take();
      const auto begin = Turn::Clock::now();
      std::this_thread::sleep_for(step);
      had[who] += Turn::Clock::now() - begin;
      ++steps[who];
    }
  };
  std::thread brief([&] { compute(0, 1ms); });
  std::thread slow([&] { compute(1, 10ms); });
  std::this_thread::sleep_for(600ms);
  is_over = true;
  brief.join();
  slow.join();
  EXPECT_GT(steps[0], 2 * steps[1]);
  EXPECT_NEAR(had[0] / (had[0] + had[1]), 0.5, 0.1);
}

// Waits until another thread stands in line: it cannot get on before we let it.
void until_shared(const Turn::Seat& seat) {
  while (!seat.outlook().is_shared) {
    std::this_thread::yield();
  }
}

TEST(Turn, IdlingSavesNothingUp) {
  ManualClock clock;
  Turn turn(clock.reader());
  Turn::Seat busy(turn);
  for (int step = 0; step < 100; ++step) {
    busy.take();
    clock.pass(1.0);
  }
  int steps_of_newcomer = 0;
  std::thread newcomer([&] {
    Turn::Seat seat(turn);
    for (int step = 0; step < 50; ++step) {
      seat.take();
      ++steps_of_newcomer;
      clock.pass(1.0);
    }
  });
  until_shared(busy);
  busy.take();  // gives it away, and gets it back soon, though it has had 100 seconds more
  const int before_its_turn_came = steps_of_newcomer;
  busy.leave();
  newcomer.join();
  EXPECT_GE(before_its_turn_came, 1);
  EXPECT_LE(before_its_turn_came, 3);
  EXPECT_EQ(steps_of_newcomer, 50);
  EXPECT_NEAR(busy.waited_seconds(), before_its_turn_came, 1e-9);
}

TEST(Turn, WhoLeavesOrEndsPassesItOn) {
  Turn turn;
  auto first = std::make_unique<Turn::Seat>(turn);
  first->take();
  std::atomic<bool> had_it = false;
  std::thread other([&] {
    Turn::Seat seat(turn);
    seat.take();
    had_it = true;
  });
  until_shared(*first);
  EXPECT_FALSE(had_it);
  first.reset();
  other.join();
  EXPECT_TRUE(had_it);
}

// One after the other, so that nobody waits: `of` has it for `seconds`.
void use(Turn::Seat& seat, ManualClock& clock, double seconds) {
  seat.take();
  clock.pass(seconds);
  seat.leave();
}

TEST(Turn, ExpectsWhatOthersLeave) {
  ManualClock clock;
  Turn turn(clock.reader());
  Turn::Seat mine(turn);
  Turn::Seat a(turn);
  Turn::Seat b(turn);
  EXPECT_EQ(mine.outlook().share, 1.0);
  for (int i = 0; i < 100; ++i) {  // a fifth of the time
    use(a, clock, 0.02);
    clock.pass(0.08);
  }
  EXPECT_NEAR(mine.outlook().share, 0.8, 0.02);
  EXPECT_TRUE(mine.outlook().is_shared);
  EXPECT_NEAR(b.outlook().share, 0.8, 0.02);
  EXPECT_EQ(a.outlook().share, 1.0);  // the others did nothing
  for (int i = 0; i < 100; ++i) {     // a all the time that b leaves, which is 0.9
    use(b, clock, 0.01);
    use(a, clock, 0.09);
  }
  EXPECT_NEAR(mine.outlook().share, 0.45, 0.02);  // a would have to give half of it
  use(a, clock, 20.0);
  EXPECT_NEAR(mine.outlook().share, 0.5, 1e-3);  // never less than one of two
  clock.pass(10.0);
  EXPECT_NEAR(mine.outlook().share, 1.0, 1e-3);
  EXPECT_FALSE(mine.outlook().is_shared);
}

}  // namespace
}  // namespace edgewise::platform
