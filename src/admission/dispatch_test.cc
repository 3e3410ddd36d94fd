#include "admission/dispatch.h"

#include <gtest/gtest.h>

#include <array>

namespace edgewise::admission {
namespace {

constexpr std::int32_t kWaits = Dispatch::kWaits;

Clock::time_point now() {
  return Clock::time_point() + std::chrono::seconds(100);
}

// A step of 10 ms and 1 ms more for each further row; 1 ms for each token of a prompt.
Load idle(double factor = 1.0) {
  Load load;
  load.plain.launch_s = 0.009 * factor;
  load.plain.row_s = 0.001 * factor;
  load.plain.prompt_token_s = 0.001 * factor;
  load.snapshot.cost = load.plain;
  load.snapshot.capacity.count = 32;
  load.context = 1000;
  return load;
}

Load with_running(Load load, int count, std::int64_t tokens = 300) {
  for (int i = 0; i < count; ++i) {
    RunningView view;
    view.sequence.context_tokens = 10;
    view.sequence.remaining_output_tokens = tokens;
    load.snapshot.running.push_back(view);
    --load.snapshot.capacity.count;
  }
  return load;
}

Contender waiting(const Load& load) {
  Contender contender;
  contender.candidate = candidate_of({.prompt_tokens = 100, .max_tokens = 100}, load, now());
  return contender;
}

Applicant applicant(double deadline_s = 0.0, std::int64_t tokens = 100) {
  Applicant result;
  result.prospect = {.prompt_tokens = 10, .max_tokens = tokens, .ignore_eos = true};
  if (deadline_s > 0.0) {
    result.prospect.deadline =
        now() + std::chrono::milliseconds(static_cast<std::int64_t>(1e3 * deadline_s));
  }
  result.may_go = {true, true};
  return result;
}

std::vector<std::int32_t> dispatched(const Load& first,
                                     const Load& second,
                                     const std::vector<Applicant>& applicants) {
  const std::array<const Load*, 2> loads = {&first, &second};
  return dispatch(loads, applicants, now()).engine;
}

using Engines = std::vector<std::int32_t>;

TEST(Dispatch, GoesToTheFasterOrLessBusyEngine) {
  EXPECT_EQ(dispatched(idle(2.0), idle(), {applicant()}), Engines{1});
  EXPECT_EQ(dispatched(idle(), idle(2.0), {applicant()}), Engines{0});
  EXPECT_EQ(dispatched(with_running(idle(), 8), idle(), {applicant()}), Engines{1});
}

TEST(Dispatch, GoesToWhereItsBeginningIsCached) {
  Applicant conversation = applicant();
  conversation.prospect.prompt_tokens = 500;
  conversation.cached_tokens = {0, 448};
  EXPECT_EQ(dispatched(idle(), idle(), {conversation}), Engines{1});
  conversation.cached_tokens = {448, 0};
  EXPECT_EQ(dispatched(idle(), idle(), {conversation}), Engines{0});
  EXPECT_EQ(dispatched(with_running(idle(), 30), idle(), {conversation}),
            Engines{1});  // not at any price
}

TEST(Dispatch, ABurstIsSpread) {
  const Engines engines = dispatched(idle(), idle(), std::vector<Applicant>(6, applicant()));
  EXPECT_EQ(std::count(engines.begin(), engines.end(), 0), 3);
  EXPECT_EQ(std::count(engines.begin(), engines.end(), 1), 3);
}

TEST(Dispatch, WhoOnlyFitsInOnePlaceGetsIt) {
  Load first = idle();
  Load second = idle();
  first.snapshot.capacity.count = second.snapshot.capacity.count = 1;
  Applicant either = applicant();
  Applicant only_first = applicant();
  only_first.may_go[1] = false;
  EXPECT_EQ(dispatched(first, second, {either, only_first}), (Engines{1, 0}));
  EXPECT_EQ(dispatched(first, second, {only_first, either}), (Engines{0, 1}));
}

TEST(Dispatch, WaitsWhereThereIsNoPlaceOrMemory) {
  Load full = with_running(idle(), 1);
  full.snapshot.capacity.count = 0;
  EXPECT_EQ(dispatched(full, full, {applicant()}), Engines{kWaits});
  EXPECT_EQ(dispatched(full, idle(), {applicant()}), Engines{1});
  Load small = with_running(idle(), 1);
  small.snapshot.capacity.memory_bytes = 1;  // block; 110 tokens take two
  EXPECT_EQ(dispatched(small, small, {applicant()}), Engines{kWaits});
  EXPECT_EQ(dispatched(small, small, {applicant(0.0, 50)}), Engines{0});
}

TEST(Dispatch, WhoWaitsInAnEngineCameBefore) {
  Load queue = idle();
  queue.snapshot.capacity.count = 2;
  queue.snapshot.waiting = {waiting(queue), waiting(queue)};
  EXPECT_EQ(dispatched(queue, queue, {applicant()}), Engines{kWaits});
  queue.snapshot.capacity = {.memory_bytes = 9, .count = 32};  // two of 4 blocks wait
  EXPECT_EQ(dispatched(queue, queue, {applicant()}), Engines{kWaits});
  EXPECT_EQ(dispatched(queue, queue, {applicant(0.0, 50)}), Engines{0});
}

TEST(Dispatch, InTimeOrNotYet) {
  // 1.1 s alone; beside 20 others 3 s.
  EXPECT_EQ(dispatched(with_running(idle(), 20), idle(), {applicant(2.0)}), Engines{1});
  // Nobody who runs loses his deadline for it.
  Load strict = with_running(idle(), 20);
  for (RunningView& view : strict.snapshot.running) {
    view.sequence.deadline_s = 8.75;  // they end after 8.7
  }
  EXPECT_EQ(dispatched(strict, strict, {applicant()}), Engines{kWaits});
}

TEST(Dispatch, TheHopelessGoWhereTheyAreLeastLate) {
  EXPECT_EQ(dispatched(idle(2.0), idle(), {applicant(0.5)}), Engines{1});
  EXPECT_EQ(dispatched(idle(), idle(2.0), {applicant(0.5)}), Engines{0});
}

TEST(Dispatch, UnderOverloadAsManyAsPossibleAreInTime) {
  // Each engine has time for two of the short ones, or one long one.
  Load slow = idle();
  slow.snapshot.cost.row_s = 0.01;
  slow.snapshot.cost.launch_s = 0.0;
  std::vector<Applicant> applicants = {applicant(3.2, 300), applicant(3.2, 300)};
  for (int i = 0; i < 4; ++i) {
    applicants.push_back(applicant(1.2, 50));
  }
  const std::array<const Load*, 2> loads = {&slow, &slow};
  const Dispatch result = dispatch(loads, applicants, now());
  EXPECT_GE(result.value, 4.0);
  EXPECT_GE(result.upper_bound, result.value);
  EXPECT_TRUE(result.has_guarantee);
}

TEST(Dispatch, WhoIsExpectedToBeLateMayTryAnIdleEngine) {
  Applicant lucky = applicant(1.0);
  lucky.prospect.ignore_eos = false;
  Load load = idle();
  load.usual_answer = 100;  // 1.1 s
  load.least_answer = 10;
  const Load busy = with_running(load, 1);
  EXPECT_EQ(dispatched(load, busy, {lucky}), Engines{0});
  EXPECT_EQ(dispatched(busy, load, {lucky, lucky}), (Engines{1, kWaits}));
  EXPECT_EQ(dispatched(busy, busy, {lucky}), Engines{kWaits});
}

TEST(Dispatch, ManyAnswersNeedAsManyPlaces) {
  Load busy = with_running(idle(), 1);
  busy.snapshot.capacity.count = 3;
  Applicant four = applicant();
  four.sequences = 4;
  EXPECT_EQ(dispatched(busy, busy, {four}), Engines{kWaits});
  busy.snapshot.capacity.count = 4;
  EXPECT_EQ(dispatched(busy, busy, {four}), Engines{0});
  busy.snapshot.capacity.memory_bytes = 7;  // of 8 blocks
  EXPECT_EQ(dispatched(busy, busy, {four}), Engines{kWaits});
  EXPECT_EQ(dispatched(busy, idle(), {four}), Engines{1});
}

TEST(Dispatch, NothingIsKnownOfAnEngine) {
  const Load load = idle();
  const std::array<const Load*, 2> one = {nullptr, &load};
  EXPECT_EQ(dispatch(one, std::vector{applicant()}, now()).engine, Engines{1});
  const std::array<const Load*, 2> none = {nullptr, nullptr};
  EXPECT_EQ(dispatch(none, std::vector{applicant(0.001)}, now()).engine, Engines{kWaits});
  EXPECT_TRUE(dispatch(one, {}, now()).engine.empty());
}

}  // namespace
}  // namespace edgewise::admission
