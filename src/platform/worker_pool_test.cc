#include "platform/worker_pool.h"

#include <gtest/gtest.h>
#include <poll.h>
#include <pthread.h>
#include <rapidcheck.h>
#include <signal.h>
#include <sys/resource.h>

#include <atomic>
#include <chrono>
#include <future>
#include <memory>
#include <set>
#include <thread>
#include <vector>

namespace edgewise::platform {
namespace {

using std::chrono::milliseconds;

std::int64_t cpu_time_us() {
  rusage usage = {};
  ::getrusage(RUSAGE_SELF, &usage);
  return (usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * 1'000'000 + usage.ru_utime.tv_usec +
         usage.ru_stime.tv_usec;
}

// Keeps a thread from running until the end of its life, as a kernel does that gives its core to another program: the thread
// is held in the handler of SIGBUS, the one signal that workers do not block.
class TakenCore {
 public:
  explicit TakenCore(pthread_t thread) {
    held_ = false;
    released_ = false;
    struct sigaction hold = {};
    hold.sa_handler = [](int) {
      held_ = true;
      while (!released_) {
        ::poll(nullptr, 0, 1);
      }
      held_ = false;
    };
    ::sigaction(SIGBUS, &hold, &previous_);
    ::pthread_kill(thread, SIGBUS);
    while (!held_) {
      std::this_thread::yield();
    }
  }

  ~TakenCore() {
    released_ = true;
    while (held_) {
      std::this_thread::yield();
    }
    ::sigaction(SIGBUS, &previous_, nullptr);
  }

  TakenCore(const TakenCore&) = delete;
  TakenCore& operator=(const TakenCore&) = delete;

 private:
  static inline std::atomic<bool> held_, released_;
  struct sigaction previous_ = {};
};

TEST(WorkerPool, VisitsEveryIndexOnceInPiecesOfAtMostTheGrain) {
  EXPECT_TRUE(rc::check([] {
    const int threads = *rc::gen::inRange(1, 6);
    const auto count = *rc::gen::inRange<std::int64_t>(0, 500);
    const auto grain = *rc::gen::inRange<std::int64_t>(1, 70);
    WorkerPool pool(threads);
    std::vector<int> visits(
        static_cast<std::size_t>(count));  // not atomic: TSan sees a piece taken twice
    pool.parallel_for(count, grain, [&](std::int64_t begin, std::int64_t end, int worker) {
      ASSERT_TRUE(0 <= worker && worker < threads);
      ASSERT_TRUE(begin < end && end - begin <= grain && begin % grain == 0);
      for (std::int64_t i = begin; i < end; ++i) {
        ++visits[static_cast<std::size_t>(i)];
      }
    });
    RC_ASSERT(visits == std::vector<int>(static_cast<std::size_t>(count), 1));
  }));
}

TEST(WorkerPool, AWorkerAscendsThroughItsShareAndASlowOneIsHelpedFromItsFarEnd) {
  constexpr std::int64_t kCount = 300, kGrain = 10;
  WorkerPool pool(2);
  std::vector<std::int64_t> begins[2];
  std::atomic<bool> one_started = false;
  pool.parallel_for(kCount, kGrain, [&](std::int64_t begin, std::int64_t, int worker) {
    begins[worker].push_back(begin);
    if (worker == 1) {
      one_started = true;
      std::this_thread::sleep_for(milliseconds(2));
    } else {
      while (!one_started) {  // else worker 0 could do everything before worker 1 wakes up
        std::this_thread::yield();
      }
    }
  });
  const std::vector<std::int64_t>& fast = begins[0];
  const std::vector<std::int64_t>& slow = begins[1];
  ASSERT_GE(slow.size(), 1U);
  ASSERT_GT(fast.size(), 15U) << "nobody helped";
  for (std::size_t i = 0; i < slow.size(); ++i) {
    EXPECT_EQ(slow[i], kCount / 2 + static_cast<std::int64_t>(i) * kGrain);
  }
  for (std::size_t i = 0; i < fast.size(); ++i) {
    const auto done = static_cast<std::int64_t>(i) * kGrain;
    EXPECT_EQ(fast[i], i < 15 ? done : kCount - kGrain - (done - kCount / 2));
  }
}

TEST(WorkerPool, RunsTheBodyOnceOnEachWorkerAndTheCallerIsWorkerZero) {
  WorkerPool pool(4);
  ASSERT_EQ(pool.size(), 4);
  std::vector<std::thread::id> ids(4);
  pool.run([&](int worker) { ids[static_cast<std::size_t>(worker)] = std::this_thread::get_id(); });
  EXPECT_EQ(ids[0], std::this_thread::get_id());
  EXPECT_EQ(std::set<std::thread::id>(ids.begin(), ids.end()).size(), 4U);
}

TEST(WorkerPool, ResultsOfOneLoopAreVisibleToTheNext) {
  WorkerPool pool(3);
  std::vector<std::int64_t> from(64, 1);
  std::vector<std::int64_t> to(64);
  for (int step = 0; step < 40;
       ++step) {  // to[i] = from[i] + from[i + 1]: rows of Pascal's triangle sums, 2^step
    pool.parallel_for(64, 5, [&](std::int64_t begin, std::int64_t end, int) {
      for (std::int64_t i = begin; i < end; ++i) {
        to[static_cast<std::size_t>(i)] =
            from[static_cast<std::size_t>(i)] + from[static_cast<std::size_t>((i + 1) % 64)];
      }
    });
    from.swap(to);
  }
  EXPECT_EQ(from, std::vector<std::int64_t>(64, std::int64_t{1} << 40));
}

TEST(WorkerPool, WakesSleepingWorkersAndWaitsForSlowOnes) {
  WorkerPool pool(3);
  std::atomic<int> calls = 0;
  for (int i = 0; i < 30; ++i) {
    std::this_thread::sleep_for(milliseconds(1));  // longer than workers spin
    pool.run([&](int worker) {
      if (worker == 1 + i % 2) {
        std::this_thread::sleep_for(milliseconds(1));  // longer than the caller spins
      }
      calls.fetch_add(1);
    });
    ASSERT_EQ(calls.load(), 3 * (i + 1));
  }
}

TEST(WorkerPool, SurvivesManyShortLoops) {
  WorkerPool pool(2);
  std::int64_t sums[2] = {0, 0};
  for (int i = 0; i < 20'000; ++i) {
    pool.run([&](int worker) { sums[worker] += i; });
  }
  EXPECT_EQ(sums[0], 199'990'000);
  EXPECT_EQ(sums[1], 199'990'000);
}

TEST(WorkerPool, SurvivesManyShortLoopsThatWaitForNobody) {
  WorkerPool pool(4);
  std::int64_t sums[4] = {0, 0, 0, 0};
  for (int i = 0; i < 20'000; ++i) {
    pool.parallel_for(4, 1, [&](std::int64_t begin, std::int64_t, int) {
      sums[begin] += i;  // not atomic: TSan sees a piece of one loop run beside the next loop
    });
  }
  for (const std::int64_t sum : sums) {
    EXPECT_EQ(sum, 199'990'000);
  }
}

TEST(WorkerPool, DoesTheLoopWithoutAWorkerWhoseCoreIsTaken) {
  WorkerPool pool(2);
  pthread_t other = {};
  pool.run([&](int worker) {
    if (worker == 1) {
      other = ::pthread_self();
    }
  });
  std::vector<int> visits(100);
  std::future<void> loop;
  {
    const TakenCore taken(other);
    loop = std::async(std::launch::async, [&] {
      pool.parallel_for(100, 1, [&](std::int64_t begin, std::int64_t, int) {
        ++visits[static_cast<std::size_t>(begin)];
      });
    });
    EXPECT_EQ(loop.wait_for(std::chrono::seconds(60)), std::future_status::ready)
        << "it waits for a worker that has not come";
  }
  loop.get();
  EXPECT_EQ(visits, std::vector<int>(100, 1));
}

TEST(WorkerPool, CostsNoCpuWhileIdle) {
  WorkerPool pool(4);
  pool.run([](int) {});
  std::this_thread::sleep_for(milliseconds(20));
  const std::int64_t before = cpu_time_us();
  std::this_thread::sleep_for(milliseconds(300));
  EXPECT_LT(cpu_time_us() - before, 20'000);
}

TEST(WorkerPool, EndsWithoutEverHavingRun) {
  for (int i = 0; i < 50; ++i) {
    const WorkerPool pool(3);
  }
}

TEST(WorkerPoolDeathTest, RefusesALoopInsideALoop) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  EXPECT_DEATH(
      {
        WorkerPool pool(2);
        pool.run([&](int worker) {
          if (worker == 0) {
            pool.run([](int) {});
          }
        });
      },
      "already running");
}

}  // namespace
}  // namespace edgewise::platform
