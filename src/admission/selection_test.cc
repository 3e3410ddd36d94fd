#include "admission/selection.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "admission/serving_cost.h"
#include "schedule/exhaustive.h"
#include "schedule/test_random.h"

namespace edgewise::admission {
namespace {

using schedule::kNever;

class SnapshotMaker : public schedule::TestRandom {
 public:
  using TestRandom::TestRandom;

  Snapshot make(std::int64_t waiting) {
    Snapshot snapshot;
    snapshot.cost = {.launch_s = real(0.001, 0.01),
                     .weights_s = one_of(2) ? real(0.0, 0.01) : 0.0,
                     .row_s = real(0.0001, 0.002),
                     .position_s = one_of(2) ? real(0.0, 1e-6) : 0.0,
                     .prompt_token_s = real(0.0001, 0.002),
                     .prompt_pair_s = one_of(2) ? real(0.0, 1e-6) : 0.0};
    snapshot.prompt_share = one_of(3) ? 1.0 : real(0.3, 1.0);
    for (std::int64_t i = integer(0, 4); i > 0; --i) {
      RunningView view;
      view.sequence.remaining_prompt_tokens = one_of(3) ? integer(0, 200) : 0;
      view.sequence.context_tokens = view.sequence.remaining_prompt_tokens + integer(1, 300);
      view.sequence.remaining_output_tokens = integer(1, 200);
      view.sequence.deadline_s = one_of(2) ? kNever : real(0.0, 4.0);
      if (view.sequence.remaining_prompt_tokens > 0 && !one_of(3)) {
        view.sequence.first_token_s = real(0.0, 2.0);
      }
      view.due_s = one_of(3) ? kNever : real(0.0, 2.0);
      snapshot.running.push_back(view);
    }
    for (std::int64_t i = 0; i < waiting; ++i) {
      Contender contender;
      contender.id = static_cast<RequestId>(10 + i);
      schedule::Candidate& candidate = contender.candidate;
      candidate.value = one_of(2) ? 1.0 : real(0.1, 3.0);
      candidate.prompt_tokens = integer(1, 400);
      candidate.cached_tokens = one_of(2) ? 0 : integer(0, candidate.prompt_tokens - 1);
      candidate.output_tokens = contender.least_output_tokens = integer(1, 200);
      candidate.deadline_s = one_of(4) ? kNever : real(0.1, 4.0);
      candidate.first_token_s = one_of(3) ? real(0.1, 2.0) : kNever;
      candidate.memory_bytes = static_cast<double>(integer(1, 10));
      snapshot.waiting.push_back(contender);
    }
    snapshot.capacity.memory_bytes = static_cast<double>(integer(5, 60));
    snapshot.capacity.count = integer(1, 12);
    return snapshot;
  }

  // Everyone takes some of a link, whose seconds are shared as engine/runner_snapshot.cc does it.
  Snapshot make_on_link(std::int64_t waiting) {
    Snapshot snapshot = make(waiting);
    for (RunningView& view : snapshot.running) {
      if (view.sequence.deadline_s < kNever && !one_of(3)) {
        view.send_by_s = view.sequence.deadline_s;
        view.send_s = real(0.0, 0.5) * view.send_by_s;
        snapshot.capacity.downlink -= view.send_s / std::max(view.send_by_s, 1e-9);
      }
    }
    snapshot.capacity.downlink = std::max(0.0, snapshot.capacity.downlink);
    for (Contender& contender : snapshot.waiting) {
      schedule::Candidate& candidate = contender.candidate;
      if (candidate.deadline_s == kNever || one_of(4)) {
        continue;
      }
      contender.send_by_s = candidate.deadline_s;
      const double seconds = real(0.0, 0.8) * contender.send_by_s;
      contender.least_send_s = one_of(2) ? seconds : 0.5 * seconds;
      contender.tail_s = one_of(2) ? seconds : 0.01;
      contender.least_tail_s = std::min(contender.tail_s, contender.least_send_s);
      candidate.downlink = seconds / contender.send_by_s;
      candidate.deadline_s -= contender.tail_s;
    }
    return snapshot;
  }
};

ServingCost cost_of(const Snapshot& snapshot) {
  return {snapshot.cost, snapshot.running, snapshot.prompt_share};
}

std::vector<schedule::Candidate> candidates_of(const Snapshot& snapshot) {
  std::vector<schedule::Candidate> candidates;
  for (const Contender& contender : snapshot.waiting) {
    candidates.push_back(contender.candidate);
    candidates.back().request = static_cast<std::int32_t>(candidates.size() - 1);
  }
  return candidates;
}

// What select() says, held against exhaustive search through the same costs.
Selection checked_select(const Snapshot& snapshot) {
  const Selection found = select(snapshot, 1'000'000);
  const schedule::Selection truth =
      select_exhaustively(candidates_of(snapshot), cost_of(snapshot), snapshot.capacity);
  EXPECT_TRUE(found.is_optimal);
  EXPECT_NEAR(found.value, truth.value, 1e-7 * (1.0 + truth.value));
  return found;
}

const Contender& find(const Snapshot& snapshot, RequestId id) {
  return *std::find_if(snapshot.waiting.begin(), snapshot.waiting.end(),
                       [&](const Contender& contender) { return contender.id == id; });
}

TEST(ServingCost, NobodyIsEarlierBecauseSomebodyJoins) {
  SnapshotMaker maker(1);
  for (int i = 0; i < 2000; ++i) {
    const Snapshot snapshot = maker.make(maker.integer(1, 8));
    const ServingCost cost = cost_of(snapshot);
    const std::vector<schedule::Candidate> all = candidates_of(snapshot);
    schedule::FinishTimes with;
    schedule::FinishTimes without;
    cost.finish_times(all, with);
    cost.finish_times(std::span(all).first(all.size() - 1), without);
    for (std::size_t k = 0; k + 1 < all.size(); ++k) {
      ASSERT_GE(with.set[k].last_token_s, without.set[k].last_token_s - 1e-9);
      ASSERT_GE(with.set[k].first_token_s, without.set[k].first_token_s - 1e-9);
    }
    for (std::size_t k = 0; k < snapshot.running.size(); ++k) {
      ASSERT_GE(with.running[k].last_token_s, without.running[k].last_token_s - 1e-9);
      ASSERT_GE(with.running[k].first_token_s, without.running[k].first_token_s - 1e-9);
    }
  }
}

// Worth of the best set if the first tokens of who runs did not matter.
double worth_without_first_tokens(Snapshot snapshot) {
  for (RunningView& view : snapshot.running) {
    view.sequence.first_token_s = kNever;
  }
  return select(snapshot, 1'000'000).value;
}

// Whoever runs and would have had his first token in time has it with `set`, too.
void expect_first_tokens_in_time(const Snapshot& snapshot,
                                 std::span<const schedule::Candidate> set) {
  const ServingCost cost = cost_of(snapshot);
  schedule::FinishTimes with;
  schedule::FinishTimes without;
  cost.finish_times(set, with);
  cost.finish_times({}, without);
  for (std::size_t k = 0; k < snapshot.running.size(); ++k) {
    const double deadline = snapshot.running[k].sequence.first_token_s;
    ASSERT_TRUE(!schedule::within(without.running[k].first_token_s, deadline) ||
                schedule::within(with.running[k].first_token_s, deadline));
  }
}

TEST(Selection, EqualsExhaustiveSearch) {
  SnapshotMaker maker(2);
  int chosen = 0;
  int hopeless = 0;
  int bound_by_first_tokens = 0;
  for (int i = 0; i < 3000 && !HasFailure(); ++i) {
    const Snapshot snapshot = maker.make(maker.integer(0, 10));
    const Selection found = checked_select(snapshot);
    const ServingCost cost = cost_of(snapshot);
    std::vector<schedule::Candidate> set;
    for (const RequestId id : found.admitted) {
      set.push_back(find(snapshot, id).candidate);
      set.back().request = static_cast<std::int32_t>(id);
    }
    schedule::FinishTimes times;
    ASSERT_TRUE(is_feasible(set, cost, snapshot.capacity, times));
    expect_first_tokens_in_time(snapshot, set);
    bound_by_first_tokens += found.value < worth_without_first_tokens(snapshot) - 1e-6 ? 1 : 0;
    ASSERT_TRUE(
        std::is_sorted(found.admitted.begin(), found.admitted.end(), [&](RequestId a, RequestId b) {
          return cost.due_s(find(snapshot, a).candidate) < cost.due_s(find(snapshot, b).candidate);
        }));
    // Whoever is told that he has no hope has none, even alone.
    for (const auto& [id, late_s, by_link] : found.hopeless) {
      ASSERT_GT(late_s, 0.0);
      ASSERT_FALSE(by_link);
      cost.finish_times({&find(snapshot, id).candidate, 1}, times);
      const schedule::Candidate& its = find(snapshot, id).candidate;
      ASSERT_TRUE(times.set[0].last_token_s > its.deadline_s ||
                  times.set[0].first_token_s > its.first_token_s);
    }
    chosen += static_cast<int>(found.admitted.size());
    hopeless += static_cast<int>(found.hopeless.size());
  }
  EXPECT_GT(chosen, 1000);  // else this tested nothing
  EXPECT_GT(hopeless, 1000);
  EXPECT_GT(bound_by_first_tokens, 100);
}

// By trying every set: worth the most, within the link's share, and nobody is refused who is in such a set.
TEST(Selection, EqualsExhaustiveSearchOnALink) {
  SnapshotMaker maker(4);
  int chosen = 0;
  int refused_by_link = 0;
  int bound_by_link = 0;
  for (int i = 0; i < 2000 && !HasFailure(); ++i) {
    const Snapshot snapshot = maker.make_on_link(maker.integer(0, 10));
    const Selection found = checked_select(snapshot);
    double share = 0.0;
    for (const RequestId id : found.admitted) {
      share += find(snapshot, id).candidate.downlink;
    }
    ASSERT_TRUE(schedule::within(share, snapshot.capacity.downlink));
    for (const Selection::Hopeless& hopeless : found.hopeless) {
      const Contender& its = find(snapshot, hopeless.id);
      ASSERT_GT(hopeless.late_s, 0.0);
      ASSERT_TRUE(!hopeless.by_link || its.least_send_s > 0.0);
      refused_by_link += hopeless.by_link ? 1 : 0;
    }
    Snapshot unlimited = snapshot;
    unlimited.capacity.downlink = kNever;
    bound_by_link += select(unlimited, 1'000'000).value > found.value + 1e-6 ? 1 : 0;
    chosen += static_cast<int>(found.admitted.size());
  }
  EXPECT_GT(chosen, 1000);
  EXPECT_GT(refused_by_link, 100);
  EXPECT_GT(bound_by_link, 200);
}

TEST(Selection, WhoIsOverdueGoesFirstAndAlone) {
  SnapshotMaker maker(3);
  Snapshot snapshot = maker.make(6);
  for (Contender& contender : snapshot.waiting) {
    contender.candidate.deadline_s = contender.candidate.first_token_s = kNever;
    contender.candidate.memory_bytes = 10.0;
  }
  snapshot.capacity.memory_bytes = 30.0;
  snapshot.waiting[3].overdue = true;
  snapshot.waiting[3].candidate.value = 4.0;
  EXPECT_EQ(select(snapshot, 1000).admitted, std::vector<RequestId>{13});
  snapshot.waiting[3].candidate.memory_bytes = 31.0;  // nobody takes what it waits for
  EXPECT_TRUE(select(snapshot, 1000).admitted.empty());
}

TEST(PlanningCost, SaysWhatTheEngineHasMeasured) {
  steps::StepCost cost(0.005, 0.0005);
  for (int i = 0; i < 300; ++i) {
    const std::int64_t rows = 1 + (i * 37) % 32;
    const steps::StepShape decode{rows, rows, rows * 100};
    cost.observe(decode, 0.004 + 0.0004 * static_cast<double>(rows) +
                             1e-7 * 100.0 * static_cast<double>(rows));
    const steps::StepShape chunk{512, 1, 512 * 256};
    cost.observe(chunk, 0.004 + 0.0004 * 512 + 1e-7 * 512 * 256);
  }
  const schedule::StepCost planned = planning_cost(cost, 512, 1.0);
  for (const double rows : {1.0, 8.0, 32.0}) {
    EXPECT_NEAR(planned.decode_s(rows, rows * 100.0), 0.004 + 0.00041 * rows, 0.0005);
  }
  EXPECT_NEAR(planned.prompt_s(0, 512), 0.004 + 0.0004 * 512 + 1e-7 * 512 * 256, 0.01);
  EXPECT_NEAR(planning_cost(cost, 512, 2.0).prompt_s(0, 512), 2.0 * planned.prompt_s(0, 512),
              0.001);
}

}  // namespace
}  // namespace edgewise::admission
