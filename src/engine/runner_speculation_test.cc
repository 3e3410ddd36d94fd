// With speculation answers come in fewer steps and are the same.
#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <algorithm>
#include <map>

#include "engine/test_support.h"

namespace edgewise::engine {
namespace {

// A grammar with a memory: which tokens may come depends on the sum of those that came, and it is
// complete when the sum is large enough.
class ToyGrammar : public sampling::GrammarMatcher {
 public:
  Result<bool> mask(std::span<float> logits) override {
    for (std::size_t i = 0; i < logits.size(); ++i) {
      if (i == kEnd || static_cast<int>(i) % 3 == sum_ % 3) {
        logits[i] = -std::numeric_limits<float>::infinity();
      }
    }
    return true;
  }

  Result<void> accept(TokenId token) override {
    if (token % 3 == sum_ % 3) {
      return fail(ErrorCode::kInternal, "token {} is not allowed after {}", token, sum_);
    }
    sum_ += token;
    return {};
  }

  bool is_complete() const override { return sum_ > 150; }

 private:
  int sum_ = 0;
};

sampling::SamplingParams random_sampling() {
  sampling::SamplingParams params;
  params.temperature = *rc::gen::elementOf(std::vector<float>{0.0F, 0.5F, 1.0F, 2.0F});
  params.top_k = *rc::gen::inRange(0, 3);
  params.top_p = *rc::gen::elementOf(std::vector<float>{1.0F, 0.9F, 0.5F});
  params.min_p = *rc::gen::elementOf(std::vector<float>{0.0F, 0.2F});
  params.repetition_penalty = *rc::gen::elementOf(std::vector<float>{1.0F, 1.0F, 1.2F});
  params.repetition_window = *rc::gen::elementOf(std::vector<int>{-1, 5});
  params.presence_penalty = *rc::gen::elementOf(std::vector<float>{0.0F, 0.0F, 0.5F});
  params.frequency_penalty = *rc::gen::elementOf(std::vector<float>{0.0F, 0.0F, 0.1F});
  if (*rc::gen::inRange(0, 2) == 0) {
    params.logit_bias[1] = 4.0F;  // repeats itself, so guesses are often right
  }
  params.top_logprobs = *rc::gen::inRange(-1, 3);
  return params;
}

struct Setting {
  model::ToyOptions toy;
  RunnerOptions options;
  std::int64_t blocks = 0;
};

// Steps take `fixed` and `row` microseconds for each row on the clock `now`.
Setting setting(Clock::time_point& now, int fixed, int row, std::int64_t context = 1024) {
  Setting s;
  s.options = options(context, 8, 64);
  s.options.speculate = true;
  s.options.now = [&now] { return now; };
  s.toy.on_forward = [&now, fixed, row](std::int64_t tokens) {
    now += std::chrono::microseconds(fixed + row * tokens);
  };
  s.blocks = 64;
  return s;
}

Ask repetitive(std::int64_t tokens) {
  Ask ask{some_tokens(40), tokens, 1, "", false, true};
  ask.sampling.logit_bias[5] = 100.0F;
  return ask;
}

TEST(Speculation, DraftsWhereRowsAreCheap) {
  Clock::time_point now{};
  const Setting s = setting(now, 10'000, 100);
  Bench bench(s.blocks, s.options, s.toy);
  const RequestId id = bench.ask(repetitive(300));
  bench.run();
  const Answer& answer = bench.answer(id);
  EXPECT_EQ(answer.tokens, Tokens(300, 5));
  EXPECT_LT(bench.runner().stats().steps_total, 60);
  EXPECT_GT(answer.usage.accepted_tokens, 240);
  EXPECT_LE(answer.usage.accepted_tokens, answer.usage.drafted_tokens);
  EXPECT_EQ(bench.runner().stats().drafted_tokens_total, answer.usage.drafted_tokens);
  EXPECT_EQ(bench.runner().stats().accepted_tokens_total, answer.usage.accepted_tokens);
  expect_all_blocks_free(bench.runner());
}

TEST(Speculation, NotWhereRowsCostAsMuchAsSteps) {
  Clock::time_point now{};
  const Setting s = setting(now, 0, 10'000);
  Bench bench(s.blocks, s.options, s.toy);
  bench.ask(repetitive(300));
  bench.run();
  EXPECT_EQ(bench.runner().stats().drafted_tokens_total, 0);
}

TEST(Speculation, NotWhenTurnedOff) {
  Clock::time_point now{};
  Setting s = setting(now, 10'000, 100);
  s.options.speculate = false;
  Bench bench(s.blocks, s.options, s.toy);
  bench.ask(repetitive(300));
  bench.run();
  EXPECT_EQ(bench.runner().stats().drafted_tokens_total, 0);
  EXPECT_EQ(bench.runner().stats().completion_tokens_total, 300);
}

TEST(Speculation, StopsWithinADraftWhereTheAnswerEnds) {
  Clock::time_point now{};
  const Setting s = setting(now, 10'000, 0);
  for (std::int64_t stop = 1; stop < 40; ++stop) {
    Bench bench(s.blocks, s.options, s.toy);
    Ask ask = repetitive(300);
    ask.stop_after = stop;
    const RequestId id = bench.ask(ask);
    bench.run();
    EXPECT_EQ(std::ssize(bench.answer(id).tokens), stop);
    EXPECT_EQ(bench.answer(id).finish, FinishReason::kStopped);
    // The prompt and all but the last drawn token are remembered, and nothing else.
    Tokens longer = ask.prompt;
    longer.insert(longer.end(), 100, 5);
    bench.runner().prefixes().peek("", longer);
    EXPECT_EQ(bench.runner().prefixes().peek("", longer).tokens(), 40 + stop - 1);
  }
}

// Two run; a step of two rows takes 14 ms, which is just enough for the one with the deadline.
TEST(Speculation, NeverMakesAnotherLate) {
  for (const bool has_deadline : {false, true}) {
    Clock::time_point now{};
    Setting s = setting(now, 10'000, 2'000);
    Bench bench(s.blocks, s.options, s.toy);
    bench.ask(repetitive(50));  // teaches the costs
    bench.run();
    const RequestId fast = bench.ask(repetitive(400));
    Ask ask{some_tokens(20, 3), 100, 7, "", false, true};
    if (has_deadline) {
      ask.deadline_s = 0.1 + 100 * 0.0142;
    }
    const RequestId slow = bench.ask(ask);
    bench.run();
    EXPECT_EQ(bench.answer(slow).finish, FinishReason::kLength);
    EXPECT_EQ(bench.answer(slow).tokens.size(), 100U);
    EXPECT_GT(bench.answer(fast).usage.accepted_tokens, 0);
    EXPECT_EQ(bench.answer(fast).tokens, Tokens(400, 5));
    if (!has_deadline) {  // it would have been late
      EXPECT_GT(bench.answer(slow).usage.decode_seconds, 0.1 + 100 * 0.0142);
    }
  }
}

// None, or one that is right always, often, by chance; with more or fewer tokens, less memory, a
// shorter context.
std::optional<ToyDraft> random_draft_model(Clock::time_point& now,
                                           std::int64_t vocab,
                                           std::int64_t least) {
  if (*rc::gen::inRange(0, 4) == 0) {
    return std::nullopt;
  }
  ToyDraft draft;
  draft.toy.vocab = std::max<std::int64_t>(2, vocab + *rc::gen::element(0, 0, 0, 1, -1));
  draft.toy.differs = [share = *rc::gen::element(0.0, 0.3, 1.0)] { return share; };
  draft.toy.context = *rc::gen::element<std::int64_t>(1024, 100);
  draft.toy.only_largest = *rc::gen::arbitrary<bool>();
  draft.blocks = *rc::gen::inRange<std::int64_t>(1, 3 * least);
  const int fixed = *rc::gen::element(1, 10, 300, 3'000);
  draft.toy.on_forward = [&now, fixed](std::int64_t tokens) {
    now += std::chrono::microseconds(fixed + tokens);
  };
  return draft;
}

// Random requests of all kinds, some of which continue an answer before, with little memory and
// cancellations.
RC_GTEST_PROP(SpeculationProperty, ChangesNoAnswerAndLeavesNothingBehind, ()) {
  const std::int64_t context = *rc::gen::inRange<std::int64_t>(70, 400);
  const std::int64_t least = (context + 63) / 64;
  Clock::time_point now{};
  Setting s = setting(now, *rc::gen::inRange(1, 10'000), *rc::gen::inRange(0, 300), context);
  s.toy.vocab = *rc::gen::inRange<std::int64_t>(4, 8);
  s.options.max_sequences = *rc::gen::inRange<std::int64_t>(1, 5);
  s.options.limits.tokens = *rc::gen::inRange<std::int64_t>(1, 200);
  model::ToyOptions plain_toy;
  plain_toy.vocab = s.toy.vocab;
  Bench bench(*rc::gen::inRange<std::int64_t>(least, 3 * least), s.options, s.toy,
              *rc::gen::element(kernels::KvType::kF16, kernels::KvType::kQ8),
              random_draft_model(now, s.toy.vocab, least));
  const auto count = *rc::gen::inRange<std::size_t>(1, 8);
  std::map<RequestId, Ask> asks;
  std::vector<RequestId> cancelled;
  while (asks.size() < count || !bench.runner().idle()) {
    const int what = *rc::gen::inRange(0, 30);
    if (asks.size() < count && (bench.runner().idle() || what < 3)) {
      Ask ask;
      if (!asks.empty() && *rc::gen::inRange(0, 2) == 0) {
        const RequestId before = *rc::gen::inRange<RequestId>(1, asks.size() + 1);
        ask.prompt = asks[before].prompt;
        const Tokens& answer = bench.answer(before).tokens;
        ask.prompt.insert(ask.prompt.end(), answer.begin(), answer.end());
        ask.prompt.resize(std::min<std::size_t>(ask.prompt.size(), context - 2));
      }
      const auto own = *rc::gen::inRange<std::size_t>(ask.prompt.empty() ? 1 : 0, 60);
      for (std::size_t i = 0; i < own && std::ssize(ask.prompt) < context - 1; ++i) {
        ask.prompt.push_back(*rc::gen::inRange<TokenId>(1, static_cast<TokenId>(s.toy.vocab)));
      }
      ask.max_tokens = *rc::gen::inRange<std::int64_t>(-1, 150);
      ask.seed = *rc::gen::inRange<std::uint64_t>(0, 1000);
      ask.ignore_eos = *rc::gen::inRange(0, 3) > 0;
      ask.min_tokens = *rc::gen::inRange<std::int64_t>(0, 20);
      ask.stop_after = *rc::gen::inRange<std::int64_t>(-50, 50);
      ask.sampling = random_sampling();
      if (*rc::gen::inRange(0, 3) == 0) {
        ask.matcher = [] { return std::make_unique<ToyGrammar>(); };
      }
      asks[bench.ask(ask)] = ask;
    } else if (what == 29 && !asks.empty()) {
      const RequestId id = *rc::gen::inRange<RequestId>(1, asks.size() + 1);
      bench.runner().cancel(id);
      cancelled.push_back(id);
    } else if (!bench.runner().idle()) {
      bench.runner().step();
    }
  }
  for (const auto& [id, ask] : asks) {
    const Answer& got = bench.answer(id);
    const Answer expected = alone(ask, context, plain_toy);
    RC_ASSERT(got.finishes == 1);
    RC_ASSERT(!got.after_finish);
    if (got.finish == FinishReason::kCancelled) {
      RC_ASSERT(std::find(cancelled.begin(), cancelled.end(), id) != cancelled.end());
      RC_ASSERT(got.tokens.size() <= expected.tokens.size());
      RC_ASSERT(std::equal(got.tokens.begin(), got.tokens.end(), expected.tokens.begin()));
      continue;
    }
    RC_ASSERT(got.tokens == expected.tokens);
    RC_ASSERT(got.logprobs == expected.logprobs);
    RC_ASSERT(got.finish == expected.finish);
  }
  const EngineStats& stats = bench.runner().stats();
  RC_CLASSIFY(stats.accepted_tokens_total > 0, "accepted");
  RC_CLASSIFY(stats.accepted_tokens_total < stats.drafted_tokens_total, "rejected");
  RC_CLASSIFY(stats.preemptions_total > 0, "preempted");
  RC_CLASSIFY(stats.model_accepted_tokens_total > 0, "accepted the draft model's");
  RC_CLASSIFY(stats.model_accepted_tokens_total < stats.model_drafted_tokens_total,
              "rejected the draft model's");
  bench.runner().prefixes().clear();
  RC_ASSERT(bench.runner().cache().free_blocks() == bench.runner().cache().capacity());
  if (speculation::DraftModel* draft_model = bench.runner().draft_model()) {
    draft_model->prefixes().clear();
    RC_ASSERT(draft_model->cache().free_blocks() == draft_model->cache().capacity());
  }
}

}  // namespace
}  // namespace edgewise::engine
