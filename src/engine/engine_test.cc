#include "engine/engine.h"

#include <gtest/gtest.h>
#include <time.h>

#include <array>
#include <atomic>
#include <condition_variable>
#include <map>
#include <mutex>
#include <thread>

#include "model/toy_model.h"

namespace edgewise::engine {
namespace {

using Tokens = std::vector<TokenId>;

// Collects one answer; any thread may wait for its end.
class Collector {
 public:
  std::function<Reply(Event)> receiver() {
    return [this](Event event) {
      const std::lock_guard lock(mutex_);
      if (event.draw) {
        tokens_.push_back(event.draw->token);
      }
      if (event.finish) {
        ++finishes_;
        finish_ = event.finish;
        error_ = event.error;
        ended_.notify_all();
      }
      return Reply::kGoOn;
    };
  }

  FinishReason wait() {
    std::unique_lock lock(mutex_);
    ended_.wait(lock, [this] { return finish_.has_value(); });
    return *finish_;
  }

  Tokens tokens() const {
    const std::lock_guard lock(mutex_);
    return tokens_;
  }

  int finishes() const {
    const std::lock_guard lock(mutex_);
    return finishes_;
  }

 private:
  mutable std::mutex mutex_;
  std::condition_variable ended_;
  Tokens tokens_;
  std::optional<FinishReason> finish_;
  std::optional<Error> error_;
  int finishes_ = 0;
};

std::unique_ptr<Engine> make_engine(
    const EngineOptions& options = {},
    const model::ToyOptions& toy = {},
    std::shared_ptr<const sampling::GrammarFactory> grammars = nullptr) {
  auto engine =
      Engine::create(std::make_unique<model::ToyModel>(toy), {0}, std::move(grammars), options);
  EXPECT_TRUE(engine.has_value()) << engine.error().message;
  return std::move(*engine);
}

Request make_request(Collector& collector,
                     Tokens prompt,
                     std::int64_t max_tokens = 20,
                     std::uint64_t seed = 1) {
  Request request;
  request.prompt = std::move(prompt);
  request.max_tokens = max_tokens;
  request.sampling.seed = seed;
  request.ignore_eos = true;
  request.on_event = collector.receiver();
  return request;
}

// A request's last event comes before the statistics that count its end.
EngineStats stats_when_idle(const Engine& engine) {
  EngineStats stats = engine.stats();
  while (stats.running + stats.waiting != 0) {
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
    stats = engine.stats();
  }
  return stats;
}

std::string refusal(Engine& engine, Request request) {
  const auto id = engine.submit(std::move(request));
  return id ? "accepted" : id.error().message;
}

TEST(Engine, AnswersFromSeveralThreadsAsItDoesAlone) {
  EngineOptions options;
  options.context = 256;
  options.max_sequences = 4;
  options.step_tokens = 32;
  std::map<std::uint64_t, Tokens> expected;
  for (std::uint64_t seed = 0; seed < 12; ++seed) {
    auto engine = make_engine(options);
    Collector collector;
    ASSERT_TRUE(engine->submit(make_request(collector, Tokens(100, 3), 40, seed)).has_value());
    EXPECT_EQ(collector.wait(), FinishReason::kLength);
    expected[seed] = collector.tokens();
  }
  auto engine = make_engine(options);
  std::vector<Collector> collectors(12);
  std::vector<std::thread> clients;
  for (std::size_t c = 0; c < 4; ++c) {
    clients.emplace_back([&, c] {
      for (std::size_t i = c; i < 12; i += 4) {
        ASSERT_TRUE(engine->submit(make_request(collectors[i], Tokens(100, 3), 40, i)).has_value());
        engine->stats();
      }
      for (std::size_t i = c; i < 12; i += 4) {
        collectors[i].wait();
      }
    });
  }
  for (auto& client : clients) {
    client.join();
  }
  for (std::size_t i = 0; i < 12; ++i) {
    EXPECT_EQ(collectors[i].tokens(), expected[i]) << i;
  }
  const EngineStats stats = stats_when_idle(*engine);
  EXPECT_EQ(stats.requests_total, 12);
  EXPECT_EQ(stats.completion_tokens_total, 12 * 40);
  EXPECT_EQ(stats.kv_blocks_used, stats.kv_blocks_cached);
}

TEST(Engine, RefusesWhatItCanNotDoWithNumbersInTheMessage) {
  EngineOptions options;
  options.context = 64;
  auto engine = make_engine(options);
  Collector none;
  const std::string too_long = refusal(*engine, make_request(none, Tokens(64, 1)));
  EXPECT_NE(too_long.find("has 64 tokens and the context holds 64"), std::string::npos) << too_long;
  EXPECT_NE(refusal(*engine, make_request(none, {})).find("empty"), std::string::npos);
  EXPECT_NE(refusal(*engine, make_request(none, {1, 40})).find("token id 40"), std::string::npos);
  EXPECT_NE(refusal(*engine, make_request(none, {-1})).find("token id -1"), std::string::npos);
  EXPECT_NE(refusal(*engine, make_request(none, {1}, -2)).find("max_tokens"), std::string::npos);
  Request biased = make_request(none, {1});
  biased.sampling.logit_bias[40] = 1.0F;
  EXPECT_NE(refusal(*engine, std::move(biased)).find("logit_bias"), std::string::npos);
  Request embedding = make_request(none, {1});
  embedding.embedding = true;
  EXPECT_NE(refusal(*engine, std::move(embedding)).find("embedding"), std::string::npos);
  Request constrained = make_request(none, {1});
  constrained.sampling.grammar = sampling::GrammarSpec{};
  EXPECT_NE(refusal(*engine, std::move(constrained)).find("constrained"), std::string::npos);
  Request more_than_most = make_request(none, {1}, 5);
  more_than_most.min_tokens = 6;
  EXPECT_NE(refusal(*engine, std::move(more_than_most)).find("min_tokens"), std::string::npos);
  EXPECT_EQ(none.finishes(), 0);
}

TEST(Engine, AnEncoderEmbedsAndDoesNotGenerate) {
  model::ToyOptions toy;
  toy.encoder = true;
  auto engine = make_engine({}, toy);
  Collector collector;
  EXPECT_NE(refusal(*engine, make_request(collector, {1})).find("embeddings"), std::string::npos);
  Request request =
      make_request(collector, Tokens(1024, 2));  // more than a step's budget, exactly the context
  request.embedding = true;
  ASSERT_TRUE(engine->submit(request).has_value());
  EXPECT_EQ(collector.wait(), FinishReason::kEnd);
  request.prompt = Tokens(1025, 2);
  EXPECT_NE(refusal(*engine, request).find("1025"), std::string::npos);
}

TEST(Engine, RefusesWhenTooManyWait) {
  EngineOptions options;
  options.max_sequences = 1;
  options.max_waiting = 2;
  auto engine = make_engine(options);
  std::atomic<bool> go = false;
  Collector collectors[4];
  Request blocking = make_request(collectors[0], {1}, 1);
  blocking.on_event = [&, inner = collectors[0].receiver()](Event event) {
    while (!go) {
      std::this_thread::yield();
    }
    return inner(std::move(event));
  };
  ASSERT_TRUE(engine->submit(std::move(blocking)).has_value());
  ASSERT_TRUE(engine->submit(make_request(collectors[1], {1})).has_value());
  ASSERT_TRUE(engine->submit(make_request(collectors[2], {1})).has_value());
  const auto refused = engine->submit(make_request(collectors[3], {1}));
  ASSERT_FALSE(refused.has_value());
  EXPECT_EQ(refused.error().code, ErrorCode::kUnavailable);
  go = true;
  for (int i = 0; i < 3; ++i) {  // all of them: none may be answered after the test has ended
    EXPECT_EQ(collectors[i].wait(), FinishReason::kLength);
  }
}

TEST(Engine, RefusalsSayWhenThereMayBeAPlace) {
  EngineOptions options;
  options.max_sequences = 1;
  options.max_waiting = 1;
  auto engine = make_engine(options);
  std::atomic<bool> go_on = true;
  Collector collectors[3];
  Request slow = make_request(collectors[0], {1}, 900);
  slow.ignore_eos = true;
  slow.on_event = [&, inner = collectors[0].receiver()](Event event) {
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
    const Reply reply = inner(std::move(event));
    return go_on ? reply : Reply::kComplete;
  };
  ASSERT_TRUE(engine->submit(std::move(slow)).has_value());
  while (engine->stats().running == 0) {  // else the other one may go first
    std::this_thread::yield();
  }
  ASSERT_TRUE(engine->submit(make_request(collectors[1], {1}, 1)).has_value());
  double retry_after_s = 0.0;
  while (retry_after_s == 0.0) {
    const auto refused = engine->submit(make_request(collectors[2], {1}, 1));
    ASSERT_FALSE(refused.has_value()) << "both have ended";
    retry_after_s = refused.error().retry_after_s;
  }
  go_on = false;
  collectors[0].wait();
  EXPECT_EQ(collectors[1].wait(), FinishReason::kLength);
}

TEST(Engine, CancelsRunningAndWaitingRequests) {
  EngineOptions options;
  options.max_sequences = 1;
  auto engine = make_engine(options);
  Collector runs;
  Collector waits;
  const auto first = engine->submit(make_request(runs, {1}, -1));
  const auto second = engine->submit(make_request(waits, {2}, -1));
  engine->cancel(*second);
  EXPECT_EQ(waits.wait(), FinishReason::kCancelled);
  engine->cancel(*first);
  const FinishReason reason = runs.wait();
  EXPECT_TRUE(reason == FinishReason::kCancelled || reason == FinishReason::kLength);
  engine->cancel(*first);
  engine->cancel(999);
  engine.reset();  // no event comes after this
  EXPECT_EQ(runs.finishes(), 1);
  EXPECT_EQ(waits.finishes(), 1);
}

TEST(Engine, GoingAwayCancelsEverything) {
  std::vector<Collector> collectors(40);
  {
    EngineOptions options;
    options.max_sequences = 3;
    auto engine = make_engine(options);
    for (auto& collector : collectors) {
      ASSERT_TRUE(engine->submit(make_request(collector, Tokens(50, 4), -1)).has_value());
    }
  }
  for (auto& collector : collectors) {
    EXPECT_EQ(collector.finishes(), 1);
  }
}

// Masks everything once two tokens were accepted: a grammar without a way on.
class DeadEnd : public sampling::GrammarMatcher {
 public:
  Result<bool> mask(std::span<float> logits) override {
    if (accepted_ < 2) {
      return true;
    }
    for (float& logit : logits) {
      logit = -std::numeric_limits<float>::infinity();
    }
    return false;
  }

  Result<void> accept(TokenId) override {
    ++accepted_;
    return {};
  }

  bool is_complete() const override { return false; }

 private:
  int accepted_ = 0;
};

class DeadEnds : public sampling::GrammarFactory {
 public:
  Result<std::unique_ptr<sampling::GrammarMatcher>> create_matcher(
      const sampling::GrammarSpec& spec, std::string_view /*owner*/) const override {
    if (spec.text == "broken") {
      return fail(ErrorCode::kInvalidArgument, "this grammar does not compile");
    }
    return std::make_unique<DeadEnd>();
  }
};

TEST(Engine, AGrammarsDeadEndFailsItsRequestOnly) {
  auto engine = make_engine({}, {}, std::make_shared<DeadEnds>());
  Collector constrained;
  Collector free;
  Request request = make_request(constrained, {1}, 10);
  request.sampling.grammar = sampling::GrammarSpec{};
  Request broken = request;
  broken.sampling.grammar->text = "broken";
  ASSERT_TRUE(engine->submit(std::move(request)).has_value());
  ASSERT_TRUE(engine->submit(make_request(free, {1}, 10)).has_value());
  EXPECT_EQ(constrained.wait(), FinishReason::kError);
  EXPECT_EQ(constrained.tokens().size(), 2U);
  EXPECT_EQ(free.wait(), FinishReason::kLength);
  EXPECT_NE(refusal(*engine, std::move(broken)).find("does not compile"), std::string::npos);
}

double process_cpu_seconds() {
  timespec t{};
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
  return static_cast<double>(t.tv_sec) + static_cast<double>(t.tv_nsec) * 1e-9;
}

TEST(Engine, CostsNoProcessorTimeWhileIdle) {
  auto engine = make_engine();
  Collector collector;
  ASSERT_TRUE(engine->submit(make_request(collector, {1}, 5)).has_value());
  collector.wait();
  stats_when_idle(*engine);
  const double before = process_cpu_seconds();
  std::this_thread::sleep_for(std::chrono::milliseconds(300));
  EXPECT_LT(process_cpu_seconds() - before, 0.01);
}

// Others need the link: the request waits, costs next to nothing, and goes on when they do not any more.
TEST(Engine, WaitsForTheLinkAsleep) {
  const auto link = std::make_shared<admission::Link>(1000.0);
  link->set_running_need(&link, 900.0);
  EngineOptions options;
  options.scheduling = Scheduling::kDeadline;
  options.link = link;
  auto engine = make_engine(options);
  Collector collector;
  Request request = make_request(collector, {1, 2, 3});
  request.deadline = Clock::now() + std::chrono::seconds(10);
  request.delivery.token_bytes = 200.0;
  ASSERT_TRUE(engine->submit(std::move(request)));
  const double before = process_cpu_seconds();
  std::this_thread::sleep_for(std::chrono::milliseconds(300));
  EXPECT_LT(process_cpu_seconds() - before, 0.1);
  EXPECT_TRUE(collector.tokens().empty());
  link->set_running_need(&link, 0.0);
  EXPECT_EQ(collector.wait(), FinishReason::kLength);
}

// Two engines that take turns on one machine.
struct Neighbours {
  explicit Neighbours(const model::ToyOptions& toy = {}) {
    EngineOptions options;
    options.turn = std::make_shared<platform::Turn>();
    first = make_engine(options, toy);
    second = make_engine(options, toy);
  }

  std::unique_ptr<Engine> first, second;
};

TEST(Engine, AnswersBesideAnotherEngineAsItDoesAlone) {
  const auto alone = [](const Tokens& prompt, std::uint64_t seed) {
    Collector collector;
    const auto engine = make_engine();
    EXPECT_TRUE(engine->submit(make_request(collector, prompt, 200, seed)));
    collector.wait();
    return collector.tokens();
  };
  std::atomic<int> computing = 0;  // no two steps at once
  model::ToyOptions toy;
  toy.on_forward = [&](std::int64_t) {
    EXPECT_EQ(++computing, 1);
    std::this_thread::sleep_for(std::chrono::microseconds(50));
    --computing;
  };
  std::array<Collector, 8> collectors;
  Neighbours both(toy);
  const auto prompt_of = [](std::size_t i) { return Tokens{1, static_cast<TokenId>(i + 2), 3}; };
  for (std::size_t i = 0; i < collectors.size(); ++i) {
    Engine& engine = i % 2 == 0 ? *both.first : *both.second;
    EXPECT_TRUE(engine.submit(make_request(collectors[i], prompt_of(i), 200, i + 1)));
  }
  for (std::size_t i = 0; i < collectors.size(); ++i) {
    EXPECT_EQ(collectors[i].wait(), FinishReason::kLength);
    EXPECT_EQ(collectors[i].tokens(), alone(prompt_of(i), i + 1));
  }
}

TEST(Engine, EndsWhileItsNeighbourIsBusyAndDoesNotStopIt) {
  model::ToyOptions toy;
  toy.on_forward = [](std::int64_t) {
    std::this_thread::sleep_for(std::chrono::microseconds(200));
  };
  Collector of_first;
  Collector of_second;
  {
    Neighbours both(toy);
    EXPECT_TRUE(both.first->submit(make_request(of_first, {1, 2}, 1000)));
    EXPECT_TRUE(both.second->submit(make_request(of_second, {1, 3}, 300)));
    while (of_first.tokens().empty() || of_second.tokens().empty()) {
      std::this_thread::yield();
    }
    both.first.reset();
    EXPECT_EQ(of_first.wait(), FinishReason::kCancelled);
    EXPECT_EQ(of_second.wait(), FinishReason::kLength);
    Collector again;  // and nobody holds the turn
    EXPECT_TRUE(both.second->submit(make_request(again, {1, 3}, 10)));
    EXPECT_EQ(again.wait(), FinishReason::kLength);
    EXPECT_TRUE(both.second->submit(make_request(of_second, {1, 3}, 1000)));
  }
  EXPECT_EQ(of_second.finishes(), 2);  // both end together, busy
}

TEST(Engine, ItsLoadSaysWhenItHasNothingMoreToDo) {
  EngineOptions options;
  options.forecasts = true;
  Collector collector;
  const auto engine = make_engine(options);
  EXPECT_TRUE(engine->submit(make_request(collector, {1, 2, 3}, 50)));
  collector.wait();
  const auto is_idle = [&] {
    const admission::Load load = engine->load().value();
    return load.snapshot.running.empty() && load.snapshot.waiting.empty();
  };
  const auto latest = Clock::now() + std::chrono::seconds(10);
  while (!is_idle() && Clock::now() < latest) {
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  EXPECT_TRUE(is_idle());
}

TEST(Engine, ForecastsGrowWithWhatItHasToDo) {
  EngineOptions options;
  options.forecasts = true;
  options.max_sequences =
      1;  // the others go one after the other, whatever this machine's steps take
  model::ToyOptions toy;
  toy.on_forward = [](std::int64_t) { std::this_thread::sleep_for(std::chrono::milliseconds(1)); };
  std::array<Collector, 6> others;  // outlive the engine, which still works for them at the end
  Collector first;                  // teaches what steps cost
  const auto engine = make_engine(options, toy);
  EXPECT_TRUE(engine->submit(make_request(first, {1, 2, 3}, 50)));
  first.wait();
  const admission::Prospect prospect = {.prompt_tokens = 10, .max_tokens = 100, .ignore_eos = true};
  const admission::Forecast idle = engine->forecast(prospect);
  EXPECT_GT(idle.finish_s, 0.05);
  EXPECT_LT(idle.finish_s, 5.0);
  for (Collector& other : others) {
    EXPECT_TRUE(engine->submit(make_request(other, {1, 4, 5}, 400)));
  }
  const admission::Forecast busy = engine->forecast(prospect);
  EXPECT_GT(busy.finish_s, idle.finish_s);
}

}  // namespace
}  // namespace edgewise::engine
