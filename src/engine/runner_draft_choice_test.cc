// When the draft model is asked, and what that costs, on a clock that only the models' steps move.
#include <gtest/gtest.h>

#include <algorithm>

#include "engine/test_support.h"

namespace edgewise::engine {
namespace {

using std::chrono::microseconds;

// A target whose steps take 10 ms and 0.1 ms a row, and a draft model.
struct Pair {
  explicit Pair(int draft_fixed_us = 1'000, int draft_row_us = 10) {
    options = engine::options(4096, 8, 512);
    options.speculate = true;
    options.now = [this] { return now; };
    toy.context = 4096;
    toy.on_forward = [this](std::int64_t tokens) { now += microseconds(10'000 + 100 * tokens); };
    draft.blocks = 256;
    draft.toy.context = 4096;
    draft.toy.weight_bytes = 8'000'000;
    draft.toy.macs = 8'000'000;
    draft.toy.on_forward = [this, draft_fixed_us, draft_row_us](std::int64_t tokens) {
      const auto took = microseconds(draft_fixed_us + draft_row_us * tokens);
      now += took;
      drafting += took;
    };
  }

  void begin() {
    bench.emplace(128, options, toy, kernels::KvType::kF16, draft);
    drafting = {};
  }

  Answer& answer(const Ask& ask) {
    const RequestId id = bench->ask(ask);
    bench->run();
    return bench->answer(id);
  }

  double seconds() const { return std::chrono::duration<double>(now.time_since_epoch()).count(); }

  double drafting_seconds() const { return std::chrono::duration<double>(drafting).count(); }

  const EngineStats& stats() { return bench->runner().stats(); }

  Clock::time_point now{};
  Clock::duration drafting{};
  RunnerOptions options;
  model::ToyOptions toy;
  ToyDraft draft;
  std::optional<Bench> bench;
};

// Nothing in the text repeats, so the look-up has no guesses.
Ask lively(std::int64_t tokens, float temperature = 1.0F) {
  Ask ask{some_tokens(40), tokens, 7, "", false, true};
  ask.sampling.temperature = temperature;
  return ask;
}

TEST(DraftChoice, TheSameModelIsRightNearlyAlways) {
  for (const float temperature : {0.0F, 1.0F}) {
    Pair pair;
    pair.begin();
    const Ask ask = lively(400, temperature);
    const Answer& answer = pair.answer(ask);
    EXPECT_EQ(answer.tokens, alone(ask, 4096, pair.toy).tokens);
    EXPECT_GT(answer.usage.model_drafted_tokens, 250);
    EXPECT_GE(static_cast<double>(answer.usage.model_accepted_tokens),
              0.98 * static_cast<double>(answer.usage.model_drafted_tokens))
        << temperature;
    EXPECT_LT(pair.stats().steps_total, 140);
    EXPECT_LE(pair.stats().model_drafted_tokens_total, pair.stats().drafted_tokens_total);
    expect_all_blocks_free(pair.bench->runner());
  }
}

TEST(DraftChoice, AUselessOneIsSwitchedOff) {
  Pair pair;
  pair.draft.toy.differs = [] { return 1.0; };
  pair.begin();
  const double begin = pair.seconds();
  const std::int64_t tokens = 3000;
  pair.answer(lively(tokens));
  EXPECT_LT(pair.stats().model_drafted_tokens_total, 30);
  const double plain = 10.1e-3 * static_cast<double>(tokens);
  EXPECT_LT(pair.seconds() - begin, 1.02 * plain);
  // What it does from then on takes a hundredth of the time.
  const double before = pair.seconds();
  const double drafting_before = pair.drafting_seconds();
  pair.answer(lively(tokens));
  EXPECT_LT(pair.drafting_seconds() - drafting_before, 0.011 * (pair.seconds() - before));
  EXPECT_GT(pair.drafting_seconds() - drafting_before, 0.005 * (pair.seconds() - before));
}

TEST(DraftChoice, OneThatBecomesUsefulIsFound) {
  Pair pair;
  double differs = 1.0;
  pair.draft.toy.differs = [&differs] { return differs; };
  pair.begin();
  pair.answer(lively(1000));
  const std::int64_t before = pair.stats().model_accepted_tokens_total;
  differs = 0.0;
  pair.answer(lively(1000));
  EXPECT_GT(pair.stats().model_accepted_tokens_total - before, 300);
}

TEST(DraftChoice, NotWhereItsStepsTakeAsLongAsTheTargets) {
  Pair pair(10'000, 100);
  pair.begin();
  const double begin = pair.seconds();
  pair.answer(lively(1000));
  EXPECT_EQ(pair.stats().model_drafted_tokens_total, 0);
  EXPECT_LT(pair.seconds() - begin, 1.015 * 10.1);
}

// Long prompts would take it longer to read than the answer could gain.
TEST(DraftChoice, ReadsNoPromptThatDoesNotPay) {
  Pair pair(1'000, 1'000);
  pair.begin();
  Ask ask = lively(20);
  ask.prompt = some_tokens(2000);
  pair.answer(ask);
  EXPECT_LT(pair.drafting_seconds(), 0.01);
}

TEST(DraftChoice, ReadsInShortStepsAndNotBeforeTheFirstToken) {
  Pair pair(1'000, 300);
  pair.begin();
  Ask ask = lively(1500);
  ask.prompt = some_tokens(2000);
  const RequestId id = pair.bench->ask(ask);
  double longest = 0.0;
  while (!pair.bench->runner().idle()) {
    const double before = pair.seconds();
    const bool has_token = !pair.bench->answer(id).tokens.empty();
    pair.bench->runner().step();
    if (has_token) {
      longest = std::max(longest, pair.seconds() - before);
    } else {
      EXPECT_EQ(pair.drafting_seconds(), 0.0);
    }
  }
  EXPECT_GT(pair.stats().model_accepted_tokens_total, 500);
  EXPECT_LT(longest, 0.1);  // 50 ms of reading, by costs that are being learned
}

TEST(DraftChoice, ComputesNothingWhileSomebodyReadsHisPrompt) {
  Pair pair;
  pair.options.limits.tokens = 64;
  pair.begin();
  pair.bench->ask(lively(400));
  while (pair.stats().model_accepted_tokens_total < 50) {
    pair.bench->runner().step();
  }
  Ask ask = lively(50);
  ask.prompt = some_tokens(1000, 3);
  const RequestId id = pair.bench->ask(ask);
  const double before = pair.drafting_seconds();
  while (pair.bench->answer(id).tokens.empty()) {
    EXPECT_EQ(pair.drafting_seconds(), before);
    pair.bench->runner().step();
  }
  pair.bench->run();
  EXPECT_GT(pair.drafting_seconds(), before);
}

TEST(DraftChoice, TextThatRepeatsIsLookedUp) {
  Pair pair;
  pair.begin();
  Ask ask = lively(600);
  ask.sampling.logit_bias[5] = 100.0F;
  const Answer& answer = pair.answer(ask);
  EXPECT_EQ(answer.tokens, Tokens(600, 5));
  EXPECT_GT(answer.usage.accepted_tokens, 450);
  EXPECT_LT(answer.usage.model_drafted_tokens, answer.usage.drafted_tokens / 4);
}

TEST(DraftChoice, SeveralTextsAreGuessedTogether) {
  Pair pair(500, 5);
  pair.begin();
  std::vector<Ask> asks;
  std::vector<RequestId> ids;
  for (std::uint64_t i = 0; i < 4; ++i) {
    Ask ask = lively(300);
    ask.seed = i;
    ask.prompt = some_tokens(30, static_cast<TokenId>(i));
    ids.push_back(pair.bench->ask(ask));
    asks.push_back(ask);
  }
  const double begin = pair.seconds();
  pair.bench->run();
  for (std::size_t i = 0; i < asks.size(); ++i) {
    EXPECT_EQ(pair.bench->answer(ids[i]).tokens,
              alone(asks[i], 4096, model::ToyOptions{.context = 4096}).tokens);
    EXPECT_GT(pair.bench->answer(ids[i]).usage.model_accepted_tokens, 50);
  }
  EXPECT_LT(pair.seconds() - begin, 0.75 * 300 * 10.4e-3);
}

// Two run; a step of 14.2 ms is just short enough for the one with the deadline.
TEST(DraftChoice, NeverMakesAnotherLate) {
  Pair pair(2'000, 10);
  pair.begin();
  pair.answer(lively(100));  // teaches the costs
  Ask fast = lively(400);
  pair.bench->ask(fast);
  Ask ask = lively(100);
  ask.prompt = some_tokens(20, 3);
  ask.deadline_s = 0.1 + 100 * 0.0115;
  const RequestId slow = pair.bench->ask(ask);
  pair.bench->run();
  EXPECT_EQ(pair.bench->answer(slow).finish, FinishReason::kLength);
  EXPECT_EQ(pair.bench->answer(slow).tokens.size(), 100U);
}

// The draft model knows half the positions: what is behind is answered without it.
TEST(DraftChoice, ItsContextMayBeShorter) {
  Pair pair;
  pair.draft.toy.context = 200;
  pair.begin();
  const Ask ask = lively(600);
  const Answer& answer = pair.answer(ask);
  EXPECT_EQ(answer.tokens, alone(ask, 4096, model::ToyOptions{.context = 4096}).tokens);
  EXPECT_GT(answer.usage.model_accepted_tokens, 80);
  EXPECT_LT(answer.usage.model_accepted_tokens, 160);
}

}  // namespace
}  // namespace edgewise::engine
