#include "engine/runner.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <algorithm>
#include <map>
#include <numeric>

#include "engine/test_support.h"

namespace edgewise::engine {
namespace {

TEST(Runner, AnswersTheSameTextWhateverTheChunking) {
  const Ask ask{some_tokens(300), 50};
  const Answer whole = alone(ask, 1024);
  ASSERT_GT(whole.tokens.size(), 0U);
  for (const std::int64_t step : {1, 7, 64, 65, 128}) {
    Bench bench(16, options(1024, 4, step));
    const RequestId id = bench.ask(ask);
    bench.run();
    EXPECT_EQ(bench.answer(id).tokens, whole.tokens) << step;
  }
}

// Greedy and top-k draw the same from the largest logits alone, also when ends are not allowed yet; whatever looks at all
// logits gets them.
TEST(Runner, AsksOnlyForLogitsThatDecide) {
  std::vector<sampling::SamplingParams> some(3);
  some[0].temperature = 0.0F;
  some[1].top_k = 3;
  some[2].top_k = 5;
  some[2].top_p = 0.7F;
  some[2].min_p = 0.1F;
  some[2].typical_p = 0.9F;
  std::vector<sampling::SamplingParams> all(7);
  all[1].top_p = 0.5F;
  for (std::size_t i = 2; i < all.size(); ++i) {
    all[i].top_k = 3;
  }
  all[2].repetition_penalty = 1.3F;
  all[3].presence_penalty = 1.0F;
  all[4].frequency_penalty = 1.0F;
  all[5].logit_bias = {{7, 100.0F}};
  all[6].top_logprobs = 4;
  for (const bool decided_by_some : {true, false}) {
    for (const sampling::SamplingParams& params : decided_by_some ? some : all) {
      for (const std::int64_t min_tokens : {0, 15}) {
        Ask ask{some_tokens(40), 30};
        ask.min_tokens = min_tokens;
        ask.sampling = params;
        Bench bench(16, options(), {.only_largest = true});
        const RequestId id = bench.ask(ask);
        bench.run();
        const Answer whole = alone(ask, 1024);
        EXPECT_EQ(bench.answer(id).tokens, whole.tokens);
        EXPECT_EQ(bench.answer(id).logprobs, whole.logprobs);
        EXPECT_EQ(bench.rows_cut() > 0, decided_by_some);
      }
    }
  }
}

TEST(Runner, ReusesAFinishedConversationAndRecomputesOnlyTheRest) {
  Bench bench(64, options(1024, 4, 512));
  const RequestId first = bench.ask({some_tokens(200), 30, 1, "", false, true});
  bench.run();
  Tokens longer = some_tokens(200);
  const Tokens answer = bench.answer(first).tokens;
  ASSERT_EQ(answer.size(), 30U);
  longer.insert(longer.end(), answer.begin(), answer.end());
  longer.insert(longer.end(), {5, 6, 7});
  const std::int64_t before = bench.tokens_computed();
  const RequestId second = bench.ask({longer, 1});
  bench.run();
  EXPECT_EQ(bench.answer(second).usage.cached_tokens,
            229);  // the last drawn token was never computed
  EXPECT_EQ(bench.tokens_computed() - before, 4);
  EXPECT_EQ(bench.answer(second).tokens, alone({longer, 1}, 1024).tokens);
  expect_all_blocks_free(bench.runner());
}

TEST(Runner, AlwaysRecomputesTheLastPromptToken) {
  Bench bench(64, options());
  const Ask ask{some_tokens(128), 5};
  const RequestId first = bench.ask(ask);
  bench.run();
  const RequestId second = bench.ask(ask);
  bench.run();
  EXPECT_EQ(bench.answer(second).usage.cached_tokens, 127);
  EXPECT_EQ(bench.answer(second).tokens, bench.answer(first).tokens);
}

TEST(Runner, SiblingsReadTheirPromptOnce) {
  Bench bench(64, options(1024, 8, 64));
  for (std::uint64_t seed = 0; seed < 4; ++seed) {
    bench.ask({some_tokens(500), 1, seed, "", false, true});
  }
  bench.run();
  EXPECT_EQ(bench.tokens_computed(), 500 + 3);
  for (auto& [id, answer] : bench.answers()) {
    EXPECT_EQ(answer.tokens, alone({some_tokens(500), 1, id - 1, "", false, true}, 1024).tokens);
  }
}

TEST(Runner, DoesNotShareAcrossScopes) {
  Bench bench(64, options());
  bench.ask({some_tokens(100), 1, 1, "tenant a"});
  bench.run();
  const RequestId other = bench.ask({some_tokens(100), 1, 1, "tenant b"});
  bench.run();
  EXPECT_EQ(bench.answer(other).usage.cached_tokens, 0);
}

TEST(Runner, FinishesWithLengthWhenTheContextIsFull) {
  Bench bench(2, options(128));
  const RequestId id = bench.ask({some_tokens(100), -1, 1, "", false, true});
  bench.run();
  EXPECT_EQ(bench.answer(id).finish, FinishReason::kLength);
  EXPECT_EQ(bench.answer(id).tokens.size(), 28U);
}

TEST(Runner, HonoursMaxAndMinTokensAndIgnoreEos) {
  Bench bench(64, options());
  const RequestId none = bench.ask({some_tokens(10), 0});
  const RequestId most = bench.ask({some_tokens(10), 300, 3, "", false, true});
  Ask at_least{some_tokens(10), 300, 4};
  at_least.min_tokens = 250;
  const RequestId least = bench.ask(at_least);
  bench.run();
  EXPECT_EQ(bench.answer(none).finish, FinishReason::kLength);
  EXPECT_TRUE(bench.answer(none).tokens.empty());
  EXPECT_EQ(bench.answer(most).tokens.size(), 300U);
  EXPECT_GE(bench.answer(least).tokens.size(), 250U);
  EXPECT_EQ(std::count(bench.answer(most).tokens.begin(), bench.answer(most).tokens.end(), kEnd),
            0);
}

TEST(Runner, EndsAsItsReceiverSays) {
  for (const auto& [says, finish] : {std::pair{Reply::kComplete, FinishReason::kStopped},
                                     std::pair{Reply::kGone, FinishReason::kCancelled}}) {
    Bench bench(64, options());
    Ask ask{some_tokens(10), 300, 3, "", false, true};
    ask.stop_after = 7;
    ask.stop = says;
    const RequestId id = bench.ask(ask);
    bench.run();
    EXPECT_EQ(bench.answer(id).finish, finish);
    EXPECT_EQ(bench.answer(id).tokens.size(), 7U);
    EXPECT_EQ(bench.answer(id).finishes, 1);
  }
}

// What many answers teach of the next one's length, and how many of them met their deadline.
struct Learned {
  std::int64_t usual_answer = 0;
  std::int64_t deadlines_met = 0;
};

Learned learn_from(Ask ask) {
  Bench bench(64, options());
  ask.min_tokens = 5;
  ask.deadline_s = 3600.0;
  for (int i = 0; i < 10; ++i) {
    bench.ask(ask);
  }
  bench.run();
  return {bench.runner().load().usual_answer, bench.runner().stats().deadlines_met_total};
}

TEST(Runner, AnAnswerThatAStopStringEndsIsComplete) {
  const Learned complete =
      learn_from({.prompt = some_tokens(10), .max_tokens = 300, .stop_after = 5});
  EXPECT_EQ(complete.usual_answer, 5);
  EXPECT_EQ(complete.deadlines_met, 10);
  const Learned left = learn_from(
      {.prompt = some_tokens(10), .max_tokens = 300, .stop_after = 5, .stop = Reply::kGone});
  EXPECT_EQ(left.usual_answer, 256);
  EXPECT_EQ(left.deadlines_met, 0);
}

TEST(Runner, AnAnswerThatIsCutTeachesNoLength) {
  const Learned cut = learn_from({.prompt = some_tokens(10), .max_tokens = 5});
  EXPECT_EQ(cut.usual_answer, 256);
  EXPECT_EQ(cut.deadlines_met, 10);
}

TEST(Runner, AnErrorOfOneRequestLeavesTheOthersAlone) {
  model::ToyOptions toy;
  toy.poison = 39;
  Bench bench(64, options(), toy);
  Tokens bad = {3, 4, 39};
  const RequestId poisoned = bench.ask({bad, 10});
  const Ask good{{3, 4, 5}, 10, 9, "", false, true};
  const RequestId healthy = bench.ask(good);
  bench.run();
  EXPECT_EQ(bench.answer(poisoned).finish, FinishReason::kError);
  ASSERT_TRUE(bench.answer(poisoned).error.has_value());
  EXPECT_NE(bench.answer(healthy).finish, std::nullopt);
  expect_all_blocks_free(bench.runner());
}

TEST(Runner, CancellingFreesBlocksAtOnce) {
  Bench bench(8, options(512, 1, 64));
  const RequestId runs = bench.ask({some_tokens(200), 100});
  const RequestId waits = bench.ask({some_tokens(200, 5), 100});
  bench.runner().step();
  bench.runner().cancel(runs);
  bench.runner().cancel(waits);
  bench.runner().cancel(12345);
  EXPECT_TRUE(bench.runner().idle());
  EXPECT_EQ(bench.answer(runs).finish, FinishReason::kCancelled);
  EXPECT_EQ(bench.answer(waits).finish, FinishReason::kCancelled);
  EXPECT_EQ(bench.runner().stats().kv_blocks_used, bench.runner().stats().kv_blocks_cached);
  expect_all_blocks_free(bench.runner());
}

TEST(Runner, PreemptsTheYoungestAndStillAnswersTheSame) {
  // Each may grow to 7 blocks; there are 8.
  Bench bench(8, options(448, 4, 64));
  std::vector<Ask> asks;
  for (TokenId i = 0; i < 4; ++i) {
    asks.push_back({some_tokens(60, i), 300, static_cast<std::uint64_t>(i), "", false, true});
    bench.ask(asks.back());
  }
  bench.run();
  EXPECT_GT(bench.runner().stats().preemptions_total, 0);
  for (std::size_t i = 0; i < asks.size(); ++i) {
    EXPECT_EQ(bench.answer(i + 1).tokens, alone(asks[i], 448).tokens);
    EXPECT_EQ(bench.answer(i + 1).tokens.size(), 300U);
  }
  expect_all_blocks_free(bench.runner());
}

TEST(Runner, TakesShortStepsWhileSomeoneGenerates) {
  // On a virtual clock: a step costs 10 ms and 1 ms a row.
  Clock::time_point now{};
  RunnerOptions o = options(1024, 8, 400);
  o.limits = {.tokens = 400, .alone_seconds = 0.2, .shared_seconds = 0.05};
  o.now = [&now] { return now; };
  model::ToyOptions toy;
  toy.on_forward = [&now](std::int64_t tokens) {
    now += std::chrono::microseconds(10'000 + 1'000 * tokens);
  };
  Bench bench(64, o, toy);
  for (int i = 0; i < 20; ++i) {  // so that the cost is known
    bench.ask({some_tokens(300, i), 10, 1, "", false, true});
  }
  bench.run();
  bench.ask({some_tokens(150, 25), 100, 1, "", false, true});
  bench.runner().step();
  bench.ask({some_tokens(300, 35), 100, 2, "", false, true});
  for (int i = 0; i < 5; ++i) {
    const std::int64_t before = bench.tokens_computed();
    bench.runner().step();
    EXPECT_NEAR(static_cast<double>(bench.tokens_computed() - before), 40, 4);
  }
}

TEST(Runner, EmbedsInOneSegmentBesideOthers) {
  model::ToyOptions toy;
  toy.encoder = true;
  Bench bench(64, options(512, 8, 100), toy);
  for (TokenId i = 0; i < 5; ++i) {
    bench.ask({some_tokens(40 + 90 * static_cast<std::size_t>(i), i), -1, 1, "", true});
  }
  const RequestId again = bench.ask({some_tokens(40, 0), -1, 1, "", true});
  bench.run();
  for (auto& [id, answer] : bench.answers()) {
    EXPECT_EQ(answer.finish, FinishReason::kEnd);
    EXPECT_EQ(answer.embedding.size(), 8U);
  }
  EXPECT_EQ(bench.answer(1).embedding, bench.answer(again).embedding);
  EXPECT_NE(bench.answer(1).embedding, bench.answer(2).embedding);
  EXPECT_EQ(bench.runner().cache().free_blocks(), bench.runner().cache().capacity());
}

// Random streams of requests with common beginnings, little memory, and cancellations at random
// steps.
RC_GTEST_PROP(RunnerProperty, EveryRequestEndsOnceWithTheAnswerItHasAlone, ()) {
  const std::int64_t context = *rc::gen::inRange<std::int64_t>(70, 400);
  const std::int64_t least = (context + 63) / 64;
  const std::int64_t blocks = *rc::gen::inRange<std::int64_t>(least, 4 * least);
  const std::int64_t sequences = *rc::gen::inRange<std::int64_t>(1, 7);
  const std::int64_t step = *rc::gen::inRange<std::int64_t>(1, 200);
  const Tokens stem = some_tokens(400);
  const auto count = *rc::gen::inRange<std::size_t>(1, 12);
  RunnerOptions o = options(context, sequences, step);
  o.limits.shared_seconds = *rc::gen::inRange(0, 100) * 1e-6;
  Bench bench(blocks, o, {}, *rc::gen::element(kernels::KvType::kF16, kernels::KvType::kQ8));
  std::map<RequestId, Ask> asks;
  std::vector<RequestId> cancelled;
  while (asks.size() < count || !bench.runner().idle()) {
    const int what = *rc::gen::inRange(0, 10);
    if (asks.size() < count && (bench.runner().idle() || what < 3)) {
      Ask ask;
      const auto shared = *rc::gen::inRange<std::int64_t>(0, context - 10);
      ask.prompt.assign(stem.begin(), stem.begin() + shared);
      const auto own = *rc::gen::inRange<std::size_t>(1, 9);
      for (std::size_t i = 0; i < own; ++i) {
        ask.prompt.push_back(*rc::gen::inRange<TokenId>(1, 40));
      }
      ask.max_tokens = *rc::gen::inRange<std::int64_t>(-1, 150);
      ask.seed = *rc::gen::inRange<std::uint64_t>(0, 1000);
      ask.ignore_eos = *rc::gen::inRange(0, 2) == 0;
      ask.scope = *rc::gen::inRange(0, 3) == 0 ? "other" : "";
      asks[bench.ask(ask)] = ask;
    } else if (what == 9 && !asks.empty()) {
      const RequestId id = *rc::gen::inRange<RequestId>(1, asks.size() + 1);
      bench.runner().cancel(id);
      cancelled.push_back(id);
    } else if (!bench.runner().idle()) {
      bench.runner().step();
    }
  }
  for (const auto& [id, ask] : asks) {
    const Answer& got = bench.answer(id);
    RC_ASSERT(got.finishes == 1);
    RC_ASSERT(!got.after_finish);
    const Answer expected = alone(ask, context);
    if (got.finish == FinishReason::kCancelled) {
      RC_ASSERT(std::find(cancelled.begin(), cancelled.end(), id) != cancelled.end());
      RC_ASSERT(got.tokens.size() <= expected.tokens.size());
      RC_ASSERT(std::equal(got.tokens.begin(), got.tokens.end(), expected.tokens.begin()));
    } else {
      RC_ASSERT(got.tokens == expected.tokens);
      RC_ASSERT(got.finish == expected.finish);
    }
    RC_ASSERT(got.usage.prompt_tokens == std::ssize(ask.prompt));
    RC_ASSERT(got.usage.completion_tokens == std::ssize(got.tokens));
  }
  bench.runner().prefixes().clear();
  RC_ASSERT(bench.runner().cache().free_blocks() == bench.runner().cache().capacity());
}

}  // namespace
}  // namespace edgewise::engine
