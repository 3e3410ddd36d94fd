// What the toy model keeps of a token depends on its position only, so that with it what is taken over must be exact: any wrong
// position, block or length changes the answer. With `marks_copies` copies differ, so that they would be seen where they leak.
#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <random>

#include "engine/test_support.h"

namespace edgewise::engine {
namespace {

constexpr std::int64_t kContext = 1024;

RunnerOptions reuse_options(std::int64_t first = 8, std::int64_t last = 8) {
  RunnerOptions o = options(kContext);
  o.recomputation = {.first = first, .last = last};
  return o;
}

Tokens random_text(unsigned seed, std::size_t length) {
  std::mt19937 rng(seed);
  Tokens text(length);
  for (TokenId& token : text) {
    token = static_cast<TokenId>(1 + rng() % 39);
  }
  return text;
}

Tokens operator+(Tokens a, const Tokens& b) {
  a.insert(a.end(), b.begin(), b.end());
  return a;
}

const Tokens kHead = random_text(1, 20);
const Tokens kDocument = random_text(2, 400);
const Tokens kQuestion = random_text(3, 20);
const Tokens kMorning = kHead + Tokens{1, 2, 3} + kDocument + kQuestion;
const Tokens kNoon = kHead + Tokens{1, 2, 4} + kDocument + kQuestion;
const Tokens kLongNoon = kHead + Tokens{4, 5, 6, 7, 8} + kDocument + kQuestion;

Answer answer_to(Bench& bench, const Ask& ask) {
  const RequestId id = bench.ask(ask);
  bench.run();
  return bench.answer(id);
}

TEST(ApproximateReuse, TakesOverWhatFollowsAChangedPlace) {
  for (const Tokens& changed : {kNoon, kLongNoon}) {
    Bench bench(64, reuse_options());
    answer_to(bench, {.prompt = kMorning});
    const std::int64_t before = bench.tokens_computed();
    const Ask ask{.prompt = changed, .approximate = true};
    const Answer answer = answer_to(bench, ask);
    EXPECT_EQ(answer.tokens, alone(ask, kContext).tokens);
    const std::int64_t same = changed == kNoon ? 22 : 20;
    EXPECT_EQ(answer.usage.cached_tokens, same);
    // All but 8 after the change and 8 at the end.
    EXPECT_EQ(answer.usage.approximate_tokens, 420 - 16);
    const std::int64_t answered = std::ssize(answer.tokens) + 1;
    EXPECT_LE(bench.tokens_computed() - before, std::ssize(changed) - same - (420 - 16) + answered);
    EXPECT_EQ(bench.runner().stats().approximate_tokens_total, 420 - 16);
    expect_all_blocks_free(bench.runner());
  }
}

TEST(ApproximateReuse, TakesOverSeveralRunsFromSeveralTexts) {
  Bench bench(64, reuse_options());
  const Tokens other = random_text(4, 200);
  answer_to(bench, {.prompt = kMorning});
  answer_to(bench, {.prompt = kHead + other});
  const Ask ask{.prompt = Tokens{9} + other + Tokens{7, 7} + kDocument + Tokens(20, 5),
                .approximate = true};
  const Answer answer = answer_to(bench, ask);
  EXPECT_EQ(answer.tokens, alone(ask, kContext).tokens);
  EXPECT_EQ(answer.usage.approximate_tokens, 200 - 8 + 400 - 8);
  expect_all_blocks_free(bench.runner());
}

TEST(ApproximateReuse, IsOnlyForWhoAsksForIt) {
  Bench bench(64, reuse_options(), {.marks_copies = true});
  answer_to(bench, {.prompt = kMorning});
  const Ask ask{.prompt = kNoon};
  const Answer answer = answer_to(bench, ask);
  EXPECT_EQ(answer.tokens, alone(ask, kContext).tokens);
  EXPECT_EQ(answer.usage.approximate_tokens, 0);
  EXPECT_EQ(bench.positions_copied(), 0);
}

TEST(ApproximateReuse, IsNeverBetweenTenants) {
  Bench bench(64, reuse_options(), {.marks_copies = true});
  answer_to(bench, {.prompt = kMorning, .scope = "a"});
  const Answer answer = answer_to(bench, {.prompt = kNoon, .scope = "b", .approximate = true});
  EXPECT_EQ(answer.usage.approximate_tokens, 0);
  EXPECT_EQ(bench.positions_copied(), 0);
}

TEST(ApproximateReuse, IsNothingWhereAllIsComputedAgain) {
  Bench bench(64, reuse_options(/*first=*/420), {.marks_copies = true});
  answer_to(bench, {.prompt = kMorning});
  const Ask ask{.prompt = kNoon, .approximate = true};
  EXPECT_EQ(answer_to(bench, ask).tokens, alone(ask, kContext).tokens);
  EXPECT_EQ(bench.positions_copied(), 0);
}

// Less than half of it is known: it is computed, and then the next one finds all of it.
TEST(ApproximateReuse, LeavesAPromptThatIsMostlyNew) {
  Bench bench(64, reuse_options());
  answer_to(bench, {.prompt = kMorning});
  const Tokens rest = random_text(5, 500);
  EXPECT_EQ(
      answer_to(bench, {.prompt = kNoon + rest, .approximate = true}).usage.approximate_tokens, 0);
  const Tokens later = kLongNoon + rest;
  EXPECT_GT(answer_to(bench, {.prompt = later, .approximate = true}).usage.approximate_tokens, 890);
}

TEST(ApproximateReuse, ReallyUsesTheCopies) {
  Bench bench(64, reuse_options(), {.marks_copies = true});
  answer_to(bench, {.prompt = kMorning});
  const Ask ask{.prompt = kNoon, .ignore_eos = true, .approximate = true};
  const Answer answer = answer_to(bench, ask);
  EXPECT_NE(answer.tokens, alone(ask, kContext).tokens);
  EXPECT_EQ(answer.tokens.size(), 20);
}

TEST(ApproximateReuse, IsNeverFoundByOthers) {
  Bench bench(64, reuse_options(), {.marks_copies = true});
  answer_to(bench, {.prompt = kMorning});
  const Ask approximate{.prompt = kNoon, .ignore_eos = true, .approximate = true};
  const Tokens answer = answer_to(bench, approximate).tokens;
  EXPECT_GT(bench.positions_copied(), 0);
  for (const Tokens& prompt : {kNoon, kNoon + answer, kMorning}) {
    const Ask exact{.prompt = prompt};
    EXPECT_EQ(answer_to(bench, exact).tokens, alone(exact, kContext).tokens);
  }
  expect_all_blocks_free(bench.runner());
}

// One that is running is a source of beginnings too, as far as it is exact.
TEST(ApproximateReuse, IsNotFoundWhileItRunsEither) {
  Bench bench(64, reuse_options(), {.marks_copies = true});
  answer_to(bench, {.prompt = kMorning});
  bench.ask({.prompt = kNoon, .max_tokens = 200, .ignore_eos = true, .approximate = true});
  for (int i = 0; i < 10; ++i) {
    bench.runner().step();
  }
  const Ask exact{.prompt = kNoon};
  const RequestId id = bench.ask(exact);
  bench.run();
  EXPECT_EQ(bench.answer(id).tokens, alone(exact, kContext).tokens);
  EXPECT_EQ(bench.answer(id).usage.cached_tokens, 23 + 8);
  expect_all_blocks_free(bench.runner());
}

// Who comes while the end of its prompt is being read does not wait for what it may not have.
TEST(ApproximateReuse, IsNotWaitedFor) {
  RunnerOptions o = reuse_options(/*first=*/8, /*last=*/100);
  o.limits.tokens = 1;
  Bench bench(64, o, {.marks_copies = true});
  answer_to(bench, {.prompt = kMorning});
  bench.ask({.prompt = kNoon, .approximate = true});
  for (int i = 0; i < 30; ++i) {  // some 9 tokens before the run, then some of the last 100
    bench.runner().step();
  }
  bench.ask({.prompt = kNoon});
  bench.runner().step();
  EXPECT_EQ(bench.runner().stats().running, 2);
  bench.run();
  expect_all_blocks_free(bench.runner());
}

TEST(ApproximateReuse, SeveralAnswersToOnePrompt) {
  Bench bench(64, reuse_options());
  answer_to(bench, {.prompt = kMorning});
  std::vector<RequestId> ids;
  for (std::uint64_t seed = 1; seed <= 4; ++seed) {
    ids.push_back(bench.ask({.prompt = kLongNoon, .seed = seed, .approximate = true}));
  }
  bench.run();
  for (std::uint64_t seed = 1; seed <= 4; ++seed) {
    EXPECT_EQ(bench.answer(ids[seed - 1]).tokens,
              alone({.prompt = kLongNoon, .seed = seed}, kContext).tokens);
    EXPECT_GT(bench.answer(ids[seed - 1]).usage.approximate_tokens, 300);
  }
  expect_all_blocks_free(bench.runner());
}

TEST(ApproximateReuse, CancelledAtAnyStepLeavesNothingBehind) {
  for (int steps = 0; steps < 12; ++steps) {
    RunnerOptions o = reuse_options();
    o.limits.tokens = 4;
    Bench bench(64, o);
    answer_to(bench, {.prompt = kMorning});
    const RequestId id = bench.ask({.prompt = kLongNoon, .approximate = true});
    for (int i = 0; i < steps; ++i) {
      bench.runner().step();
    }
    bench.runner().cancel(id);
    EXPECT_TRUE(bench.runner().idle());
    const Ask exact{.prompt = kLongNoon};
    EXPECT_EQ(answer_to(bench, exact).tokens, alone(exact, kContext).tokens);
    expect_all_blocks_free(bench.runner());
  }
}

// The source is all that could be evicted to make room for its copy.
TEST(ApproximateReuse, ComputesWhereThereIsNoMemoryForCopies) {
  for (std::int64_t blocks = 8; blocks <= 18; ++blocks) {
    RunnerOptions o = options(512);
    o.recomputation = {.first = 8, .last = 8};
    Bench bench(blocks, o);
    answer_to(bench, {.prompt = kMorning});
    const Ask ask{.prompt = kLongNoon, .approximate = true};
    EXPECT_EQ(answer_to(bench, ask).tokens, alone(ask, 512).tokens) << blocks << " blocks";
    expect_all_blocks_free(bench.runner());
  }
}

// Many of them in too little memory, some cancelled: preempted ones are begun again, with or without what they took over.
RC_GTEST_PROP(ApproximateReuseProperty, GivesEveryAnswerUnderPressure, (unsigned seed)) {
  std::mt19937 rng(seed);
  RunnerOptions o = options(512, 6, static_cast<std::int64_t>(1 + rng() % 100));
  o.recomputation = {.first = static_cast<std::int64_t>(rng() % 40),
                     .last = static_cast<std::int64_t>(1 + rng() % 40)};
  o.scheduling = rng() % 2 == 0 ? Scheduling::kDeadline : Scheduling::kFirstComeFirstServed;
  o.speculate = rng() % 2 == 0;
  Bench bench(static_cast<std::int64_t>(8 + rng() % 16), o);
  std::map<RequestId, Ask> asked;
  for (int round = 0; round < 12; ++round) {
    const Tokens changed = random_text(static_cast<unsigned>(rng()), rng() % 12);
    const auto from = static_cast<std::ptrdiff_t>(rng() % 100);
    const Tokens part(kDocument.begin() + from,
                      kDocument.end() - static_cast<std::ptrdiff_t>(rng() % 100));
    const Ask ask{.prompt = kHead + changed + part +
                            random_text(static_cast<unsigned>(rng() % 3), rng() % 40),
                  .max_tokens = static_cast<std::int64_t>(1 + rng() % 80),
                  .seed = rng(),
                  .scope = rng() % 4 == 0 ? "other" : "",
                  .ignore_eos = rng() % 2 == 0,
                  .approximate = rng() % 4 != 0};
    const RequestId id = bench.ask(ask);
    asked[id] = ask;
    for (unsigned i = rng() % 8; i > 0 && !bench.runner().idle(); --i) {
      bench.runner().step();
    }
    if (rng() % 5 == 0) {
      bench.runner().cancel(id);
      asked.erase(id);
    }
  }
  bench.run();
  for (const auto& [id, ask] : asked) {
    RC_ASSERT(bench.answer(id).tokens == alone(ask, 512).tokens);
    RC_ASSERT(bench.answer(id).finishes == 1);
  }
  RC_CLASSIFY(bench.positions_copied() > 0, "took over");
  RC_CLASSIFY(bench.runner().stats().preemptions_total > 0, "preempted");
  bench.runner().prefixes().clear();
  RC_ASSERT(bench.runner().cache().free_blocks() == bench.runner().cache().capacity());
}

}  // namespace
}  // namespace edgewise::engine
