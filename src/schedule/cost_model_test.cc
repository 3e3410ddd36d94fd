#include "schedule/cost_model.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "schedule/test_support.h"
#include "schedule/usage.h"

namespace edgewise::schedule {
namespace {

const ModelShape kBloom3B{.layers = 30, .width = 2560, .feed_forward = 10240};
const ModelShape kBloom7B{.layers = 30, .width = 4096, .feed_forward = 16384};
const ModelShape kOpt13B{.layers = 40, .width = 5120, .feed_forward = 20480};

// Computed from the published formulas by an independent program: 20 accelerators of 1.33 TFLOP/s, FP16, prompts of 512.
TEST(FlopCost, GivesTheKnownFiguresOfThePapersModels) {
  struct Known {
    ModelShape shape;
    double weights_gb, t128_ms, t256_ms, t512_ms, kv_mb;
  };

  const Known known[] = {{kBloom3B, 4.72, 117.2, 141.0, 189.0, 314.6},
                         {kBloom7B, 12.08, 296.4, 356.2, 476.7, 503.3},
                         {kOpt13B, 25.17, 614.9, 738.7, 988.0, 838.9}};
  constexpr double kFlopsPerSecond = 26.6e12;
  for (const Known& k : known) {
    EXPECT_NEAR(fp16_weight_bytes(k.shape) / 1e9, k.weights_gb, 0.005);
    EXPECT_NEAR(1e3 * flops(k.shape, 512, 128) / kFlopsPerSecond, k.t128_ms, 0.05);
    EXPECT_NEAR(1e3 * flops(k.shape, 512, 256) / kFlopsPerSecond, k.t256_ms, 0.05);
    EXPECT_NEAR(1e3 * flops(k.shape, 512, 512) / kFlopsPerSecond, k.t512_ms, 0.05);
    EXPECT_NEAR(fp16_kv_bytes(k.shape, 1024) / 1e6, k.kv_mb, 0.05);
  }
}

TEST(StepCost, CountsStepsRowsAndPositions) {
  // Powers of ten, so that each term can be read off the sum.
  const StepCost cost{.launch_s = 1e6,
                      .weights_s = 100.0,
                      .row_s = 60.0,
                      .position_s = 1e-3,
                      .prompt_token_s = 10.0,
                      .prompt_pair_s = 1e-6,
                      .chunk_tokens = 4};
  const StepCostModel model({cost}, {});
  const Candidate candidate{.prompt_tokens = 6, .output_tokens = 3};
  FinishTimes times;
  model.finish_times({&candidate, 1}, times);
  // Two chunks; six prompt tokens over 1 + ... + 6 pairs.
  const double prompt = 2e6 + 60.0 + 21e-6;
  EXPECT_DOUBLE_EQ(times.set[0].first_token_s, prompt);
  // Two more tokens, over 7 and 8 positions, one row each: the weights take longer than the row.
  EXPECT_DOUBLE_EQ(times.set[0].last_token_s, prompt + 2e6 + 200.0 + 15e-3);
  const Candidate two[] = {candidate, candidate};
  model.finish_times(two, times);
  EXPECT_DOUBLE_EQ(times.set[1].last_token_s, 2.0 * prompt + 2e6 + 240.0 + 30e-3);
}

TEST(StepCost, EqualsTheSumOverSingleSteps) {
  InstanceMaker maker(10);
  for (int round = 0; round < 300; ++round) {
    const StepCost cost{.launch_s = maker.real(0, 1),
                        .weights_s = maker.real(0, 5),
                        .row_s = maker.real(0, 2),
                        .position_s = maker.real(0, 0.1),
                        .prompt_token_s = maker.real(0, 1),
                        .prompt_pair_s = maker.real(0, 0.1),
                        .chunk_tokens = maker.integer(1, 20)};
    std::vector<Candidate> set(static_cast<std::size_t>(maker.integer(1, 6)));
    double prompts = 0.0;
    for (Candidate& candidate : set) {
      candidate.prompt_tokens = maker.integer(1, 40);
      candidate.output_tokens = maker.integer(1, 30);
      for (std::int64_t t = 0; t < candidate.prompt_tokens; ++t) {
        prompts += (t % cost.chunk_tokens == 0 ? cost.launch_s : 0.0) + cost.prompt_token_s +
                   cost.prompt_pair_s * static_cast<double>(t + 1);
      }
    }
    FinishTimes times;
    StepCostModel({cost}, {}).finish_times(set, times);
    std::vector<double> ends(set.size(), prompts);
    double now = prompts;
    for (std::int64_t step = 1; step < 30; ++step) {
      double rows = 0.0;
      double positions = 0.0;
      for (const Candidate& candidate : set) {
        if (step < candidate.output_tokens) {
          rows += 1.0;
          positions += static_cast<double>(candidate.prompt_tokens + step);
        }
      }
      now += rows > 0.0 ? cost.decode_s(rows, positions) : 0.0;
      for (std::size_t i = 0; i < set.size(); ++i) {
        if (step < set[i].output_tokens) {
          ends[i] = now;
        }
      }
    }
    for (std::size_t i = 0; i < set.size(); ++i) {
      ASSERT_NEAR(times.set[i].last_token_s, ends[i], 1e-9 * ends[i]);
    }
  }
}

// The properties that pruning stands on, on thousands of random sets of both models.
class RandomSets : public testing::TestWithParam<bool> {
 protected:
  Instance instance() {
    const std::int64_t count = maker_.integer(2, 10);
    return GetParam() ? maker_.flop_instance(count) : maker_.step_instance(count);
  }

  std::vector<Candidate> some_of(const Instance& instance) {
    std::vector<Candidate> set;
    for (const Candidate& candidate : instance.candidates) {
      if (maker_.coin()) {
        set.push_back(candidate);
      }
    }
    return set;
  }

  // The first of the least slack.
  static const Candidate& pivot_of(const std::vector<Candidate>& set, const CostModel& cost) {
    return *std::min_element(set.begin(), set.end(), [&](const Candidate& a, const Candidate& b) {
      return cost.slack(a) < cost.slack(b);
    });
  }

  InstanceMaker maker_{11};
};

TEST_P(RandomSets, NobodyFinishesEarlierWhenOneMoreJoins) {
  for (int round = 0; round < 5000; ++round) {
    const Instance some = instance();
    std::vector<Candidate> set = some_of(some);
    FinishTimes before;
    some.cost->finish_times(set, before);
    const auto place = static_cast<std::size_t>(maker_.integer(0, std::ssize(set)));
    const auto which = static_cast<std::size_t>(maker_.integer(0, std::ssize(some.candidates) - 1));
    set.insert(set.begin() + static_cast<std::ptrdiff_t>(place), some.candidates[which]);
    FinishTimes after;
    some.cost->finish_times(set, after);
    after.set.erase(after.set.begin() + static_cast<std::ptrdiff_t>(place));
    for (std::size_t i = 0; i < before.set.size(); ++i) {
      ASSERT_LE(before.set[i].first_token_s, after.set[i].first_token_s * (1.0 + 1e-12));
      ASSERT_LE(before.set[i].last_token_s, after.set[i].last_token_s * (1.0 + 1e-12));
      ASSERT_LE(before.set[i].first_token_s, before.set[i].last_token_s);
    }
    for (std::size_t i = 0; i < before.running.size(); ++i) {
      ASSERT_LE(before.running[i].first_token_s, after.running[i].first_token_s * (1.0 + 1e-12));
      ASSERT_LE(before.running[i].last_token_s, after.running[i].last_token_s * (1.0 + 1e-12));
    }
  }
}

TEST_P(RandomSets, OfASetInTimeTheNeedsSumToAtMostTheCapacity) {
  int checked = 0;
  for (int round = 0; round < 20000; ++round) {
    const Instance some = instance();
    const std::vector<Candidate> set = some_of(some);
    FinishTimes times;
    if (set.empty() || !some.cost->in_time(set, times)) {
      continue;
    }
    ++checked;
    const Candidate& pivot = pivot_of(set, *some.cost);
    const CostModel::TimeRow capacity = some.cost->time_capacity(pivot);
    CostModel::TimeRow total{};
    for (const Candidate& candidate : set) {
      const CostModel::TimeRow needs = some.cost->time_needs(pivot, candidate);
      ASSERT_LE(some.cost->least_need(candidate), needs[0]);
      for (std::size_t r = 0; r < total.size(); ++r) {
        total[r] += needs[r];
      }
    }
    for (std::size_t r = 0; r < total.size(); ++r) {
      ASSERT_TRUE(within(total[r], capacity[r] + 1e-9))
          << r << ": " << total[r] << " of " << capacity[r];
    }
  }
  EXPECT_GT(checked, 1000);
}

TEST_P(RandomSets, ACandidateThatIsNoSlowerMayTakeAnothersPlace) {
  int checked = 0;
  for (int round = 0; round < 60000; ++round) {
    const Instance some = instance();
    std::vector<Candidate> set = some_of(some);
    FinishTimes times;
    if (set.size() < 2 || !some.cost->in_time(set, times)) {
      continue;
    }
    const Candidate& a = some.candidates[static_cast<std::size_t>(
        maker_.integer(0, std::ssize(some.candidates) - 1))];
    Candidate& b = set[static_cast<std::size_t>(maker_.integer(0, std::ssize(set) - 1))];
    const Candidate& pivot = pivot_of(set, *some.cost);
    if (&b == &pivot || some.cost->slack(a) < some.cost->slack(pivot) ||
        !some.cost->no_slower(a, b)) {
      continue;
    }
    ++checked;
    b = a;
    ASSERT_TRUE(some.cost->in_time(set, times));
  }
  EXPECT_GT(checked, 100);
}

TEST_P(RandomSets, UsageAgreesWithFits) {
  for (int round = 0; round < 3000; ++round) {
    const Instance some = instance();
    Usage usage(some.capacity);
    std::vector<Candidate> set;
    for (int step = 0; step < 30; ++step) {
      if (!set.empty() && maker_.coin(0.3)) {
        const std::int64_t at = maker_.integer(0, std::ssize(set) - 1);
        usage.remove(set[static_cast<std::size_t>(at)]);
        set.erase(set.begin() + at);
        continue;
      }
      const Candidate& next = some.candidates[static_cast<std::size_t>(
          maker_.integer(0, std::ssize(some.candidates) - 1))];
      const bool is_new = std::none_of(set.begin(), set.end(), [&](const Candidate& member) {
        return member.request == next.request;
      });
      set.push_back(next);
      ASSERT_EQ(usage.fits(next), is_new && fits(set, some.capacity));
      if (usage.fits(next)) {
        usage.add(next);
      } else {
        set.pop_back();
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Schedule, RandomSets, testing::Bool(), [](const auto& kind) {
  return kind.param ? "FlopCost" : "StepCost";
});

}  // namespace
}  // namespace edgewise::schedule
