// Streams of requests on a virtual clock, under Scheduling::kDeadline and against first come first
// served.
#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <string>

#include "engine/runner.h"
#include "model/toy_model.h"
#include "schedule/test_random.h"

namespace edgewise::engine {
namespace {

struct Ask {
  double at = 0.0;
  std::int64_t prompt_tokens = 10;
  std::int64_t answer_tokens = 10;
  double deadline = 0.0;  // seconds after `at`; 0: none
  double first_token_deadline = 0.0;
  std::string tenant = {};
  int priority = 0;
  double share = 1.0;
  TokenId flavour = 1;  // equal ones have equal prompts
  double cancel_after = 0.0;
  Delivery delivery = {};
};

struct Answer {
  double first = 0.0, end = 0.0;
  std::int64_t tokens = 0;
  std::optional<FinishReason> finish;
  std::optional<ErrorCode> error;
  double retry_after = 0.0;

  bool complete() const { return finish == FinishReason::kLength; }
};

struct Settings {
  Scheduling scheduling = Scheduling::kDeadline;
  std::int64_t sequences = 8;
  std::int64_t blocks = 200;
  platform::Turn::Outlook machine = {};
  std::shared_ptr<admission::Link> link = nullptr;
};

// A machine that takes 10 ms for a step, 0.5 ms more for each row, and a stream of requests to it.
class Server {
 public:
  Server(const Settings& settings, std::vector<Ask> asks)
      : asks_(std::move(asks)), answers_(asks_.size()), sequences_(settings.sequences) {
    RunnerOptions options;
    options.context = 1024;
    options.max_sequences = settings.sequences;
    options.limits.tokens = 256;
    options.scheduling = settings.scheduling;
    options.now = [this] { return now_; };
    options.machine = [machine = settings.machine] { return machine; };
    options.link = settings.link;
    model::ToyOptions toy;
    toy.on_forward = [this](std::int64_t tokens) {
      longest_late_step_ = std::max(longest_late_step_, seconds() < 5.0 ? 0 : tokens);
      now_ += std::chrono::microseconds(10'000 + 500 * tokens);
    };
    runner_ = std::make_unique<Runner>(
        std::make_unique<model::ToyModel>(toy),
        std::move(*cache::KvCache::create({{1, 1, 1}}, settings.blocks)), options);
    std::stable_sort(asks_.begin(), asks_.end(),
                     [](const Ask& a, const Ask& b) { return a.at < b.at; });
  }

  void run() {
    std::size_t next = 0;
    while (next < asks_.size() || !runner_->idle()) {
      if (runner_->idle() && seconds() < asks_[next].at) {
        now_ = time_at(asks_[next].at);
      }
      while (next < asks_.size() && asks_[next].at <= seconds()) {
        submit(next++);
      }
      for (std::size_t i = 0; i < next; ++i) {
        if (asks_[i].cancel_after > 0.0 && !answers_[i].finish &&
            seconds() > asks_[i].at + asks_[i].cancel_after) {
          runner_->cancel(i + 1);
        }
      }
      if (!runner_->idle()) {
        runner_->step();
        EXPECT_LE(runner_->stats().running, sequences_);
        most_running_ = std::max(most_running_, runner_->stats().running);
      }
    }
    runner_->prefixes().clear();
    EXPECT_EQ(runner_->cache().free_blocks(), runner_->cache().capacity());
  }

  const std::vector<Ask>& asks() const { return asks_; }

  const std::vector<Answer>& answers() const { return answers_; }

  const EngineStats& stats() { return runner_->stats(); }

  std::int64_t complete() const {
    return std::count_if(answers_.begin(), answers_.end(),
                         [](const Answer& answer) { return answer.complete(); });
  }

  std::int64_t most_running() const { return most_running_; }

  std::int64_t longest_late_step() const { return longest_late_step_; }

 private:
  double seconds() const { return std::chrono::duration<double>(now_.time_since_epoch()).count(); }

  static Clock::time_point time_at(double seconds) {
    return Clock::time_point() +
           std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(seconds)) +
           std::chrono::nanoseconds(1);
  }

  void submit(std::size_t i) {
    const Ask& ask = asks_[i];
    auto sequence = std::make_unique<Sequence>();
    sequence->id = i + 1;
    sequence->submitted = time_at(ask.at);
    for (std::int64_t k = 0; k < ask.prompt_tokens; ++k) {
      sequence->tokens.push_back(static_cast<TokenId>(1 + (k * ask.flavour + k / 39) % 39));
    }
    sequence->prompt_tokens = ask.prompt_tokens;
    Request& request = sequence->request;
    request.max_tokens = ask.answer_tokens;
    request.ignore_eos = true;
    request.tenant = ask.tenant;
    request.priority = ask.priority;
    request.share = ask.share;
    request.delivery = ask.delivery;
    if (ask.deadline > 0.0) {
      request.deadline = time_at(ask.at + ask.deadline);
    }
    if (ask.first_token_deadline > 0.0) {
      request.first_token_deadline = time_at(ask.at + ask.first_token_deadline);
    }
    request.on_event = [this, &answer = answers_[i], ask](Event event) {
      if (event.draw) {
        answer.first = answer.tokens++ == 0 ? seconds() : answer.first;
        // No token comes after its deadline.
        EXPECT_TRUE(ask.deadline == 0.0 || seconds() <= ask.at + ask.deadline + 0.5);
      }
      if (event.finish) {
        EXPECT_FALSE(answer.finish.has_value());
        answer.finish = event.finish;
        answer.end = seconds();
        if (event.error) {
          answer.error = event.error->code;
          answer.retry_after = event.error->retry_after_s;
        }
      }
      return true;
    };
    sampling::SamplingParams params;
    params.seed = i;
    sequence->sampler.emplace(params, sequence->tokens, nullptr);
    runner_->add(std::move(sequence));
  }

  std::vector<Ask> asks_;
  std::vector<Answer> answers_;
  std::int64_t sequences_;
  std::int64_t longest_late_step_ = 0;  // tokens, after 5 s
  std::int64_t most_running_ = 0;
  Clock::time_point now_{};
  std::unique_ptr<Runner> runner_;
};

class Maker : public schedule::TestRandom {
 public:
  using TestRandom::TestRandom;

  // Poisson arrivals; a deadline is 1.5 to 6 times what the request takes alone.
  std::vector<Ask> stream(double per_second, double seconds) {
    std::vector<Ask> asks;
    for (double at = exponential(per_second); at < seconds; at += exponential(per_second)) {
      Ask ask;
      ask.at = at;
      ask.prompt_tokens = integer(10, 300);
      ask.answer_tokens = integer(5, 100);
      ask.flavour = static_cast<TokenId>(integer(1, 1000));
      const double alone = 0.0105 * static_cast<double>(ask.answer_tokens) + 0.01 +
                           0.0005 * static_cast<double>(ask.prompt_tokens);
      ask.deadline = real(1.5, 6.0) * alone;
      asks.push_back(ask);
    }
    return asks;
  }
};

TEST(Deadlines, AnIdleMachineServesWhatItCanAndRefusesTheRestAtOnce) {
  // Alone it takes 10 + 50 ms for the prompt and 10.5 ms for each of 99 further tokens.
  Ask ask{.prompt_tokens = 100, .answer_tokens = 100, .deadline = 1.5};
  Server server({}, {ask});
  server.run();
  EXPECT_TRUE(server.answers()[0].complete());
  EXPECT_EQ(server.stats().deadlines_met_total, 1);

  ask.deadline = 0.5;
  std::vector<Ask> asks(30, Ask{.answer_tokens = 20});  // so that costs are known
  ask.at = 100.0;
  asks.push_back(ask);
  Server late({}, asks);
  late.run();
  const Answer& refused = late.answers().back();
  EXPECT_EQ(refused.error, ErrorCode::kDeadlineUnreachable);
  EXPECT_EQ(refused.tokens, 0);
  EXPECT_LT(refused.end - 100.0, 0.05);
  EXPECT_NEAR(refused.retry_after, 0.6, 0.3);
  EXPECT_EQ(late.stats().refused_unreachable_total, 1);
}

TEST(Deadlines, ThatPassEndTheWorkAndFreeItsBlocks) {
  for (const Scheduling scheduling : {Scheduling::kDeadline, Scheduling::kFirstComeFirstServed}) {
    std::vector<Ask> asks(12, Ask{.prompt_tokens = 50, .answer_tokens = 400, .deadline = 2.0});
    Server server({.scheduling = scheduling}, asks);
    server.run();
    EXPECT_EQ(server.complete(), 0);
    for (const Answer& answer : server.answers()) {
      EXPECT_TRUE(answer.error == ErrorCode::kDeadlineExceeded ||
                  answer.error == ErrorCode::kDeadlineUnreachable);
      EXPECT_LT(answer.end, 2.2);
    }
  }
}

TEST(Deadlines, AnAnswerOfNoTokensIsThereAtOnce) {
  for (const Scheduling scheduling : {Scheduling::kDeadline, Scheduling::kFirstComeFirstServed}) {
    Server server({.scheduling = scheduling}, {{.answer_tokens = 0}, {.answer_tokens = 3}});
    server.run();
    EXPECT_EQ(server.answers()[0].finish, FinishReason::kLength);
    EXPECT_EQ(server.answers()[0].tokens, 0);
    EXPECT_EQ(server.answers()[1].tokens, 3);
  }
}

TEST(Deadlines, OfTheFirstTokenCountToo) {
  std::vector<Ask> asks;
  for (int i = 0; i < 8; ++i) {  // long prompts that came first
    asks.push_back({.at = 0.0,
                    .prompt_tokens = 900,
                    .answer_tokens = 5,
                    .flavour = static_cast<TokenId>(i + 2)});
  }
  asks.push_back({.at = 0.5,
                  .prompt_tokens = 40,
                  .answer_tokens = 5,
                  .first_token_deadline = 0.8,
                  .flavour = 77});
  Server server({.sequences = 9}, asks);
  server.run();
  EXPECT_TRUE(server.answers().back().complete());
  EXPECT_LE(server.answers().back().first, 0.5 + 0.8);
  Server in_turn({.scheduling = Scheduling::kFirstComeFirstServed, .sequences = 9}, asks);
  in_turn.run();
  EXPECT_EQ(in_turn.answers().back().error, ErrorCode::kDeadlineExceeded);
}

// 900 tokens are read in 0.49 s. A newcomer whose turn would come earlier takes 0.16 s of that.
TEST(Deadlines, NobodyIsLetInAtTheCostOfAFirstTokenThatIsBeingComputed) {
  const auto run = [](double first_token_deadline) {
    Server server({}, {{.at = 0.0, .prompt_tokens = 200, .answer_tokens = 150},  // to learn from
                       {.at = 5.0,
                        .prompt_tokens = 900,
                        .answer_tokens = 2,
                        .first_token_deadline = first_token_deadline,
                        .flavour = 2},
                       {.at = 5.1,
                        .prompt_tokens = 300,
                        .answer_tokens = 2,
                        .first_token_deadline = 0.36,
                        .flavour = 77}});
    server.run();
    return server.answers();
  };
  const std::vector<Answer> tight = run(0.6);
  EXPECT_TRUE(tight[1].complete());
  EXPECT_LE(tight[1].first, 5.6);
  EXPECT_EQ(tight[2].error, ErrorCode::kDeadlineUnreachable);
  const std::vector<Answer> loose = run(2.0);
  EXPECT_TRUE(loose[1].complete());
  EXPECT_TRUE(loose[2].complete());
  EXPECT_LT(loose[2].first, loose[1].first);
}

// The first step shows how slow this machine is: the other 644 tokens of the prompt do not fit.
TEST(Deadlines, WorkThatCanNotReachItsFirstTokenInTimeIsEndedEarly) {
  Server server(
      {}, {{.at = 0.0, .prompt_tokens = 900, .answer_tokens = 2, .first_token_deadline = 0.3}});
  server.run();
  EXPECT_EQ(server.answers()[0].error, ErrorCode::kDeadlineExceeded);
  EXPECT_LT(server.answers()[0].end, 0.2);
}

// A long request is let in where it fits just now; over a while it takes the place of several short
// ones. Without a price of the machine's time 3,355 were met, with it 3,680.
TEST(Deadlines, UnderOverloadLongRequestsDoNotKeepShortOnesOut) {
  std::int64_t met = 0;
  for (std::uint32_t seed = 10; seed < 16; ++seed) {
    Server server({}, Maker(seed).stream(14.0, 60.0));
    server.run();
    met += server.complete();
  }
  EXPECT_GT(met, 3500);
}

TEST(Deadlines, MoreAreMetThanFirstComeFirstServedMeets) {
  std::int64_t met = 0;
  std::int64_t met_in_turn = 0;
  std::int64_t offered = 0;
  for (std::uint32_t seed = 0; seed < 4; ++seed) {
    const std::vector<Ask> asks = Maker(seed).stream(14.0, 30.0);  // about twice what it can
    Server server({}, asks);
    server.run();
    Server in_turn({.scheduling = Scheduling::kFirstComeFirstServed}, asks);
    in_turn.run();
    met += server.complete();
    met_in_turn += in_turn.complete();
    offered += std::ssize(asks);
  }
  RecordProperty("met", std::to_string(met));
  RecordProperty("met_in_turn", std::to_string(met_in_turn));
  RecordProperty("offered", std::to_string(offered));
  EXPECT_GT(static_cast<double>(met), 1.15 * static_cast<double>(met_in_turn));
}

TEST(Deadlines, AreMetWhenThereIsTime) {
  std::int64_t met = 0;
  std::int64_t offered = 0;
  for (std::uint32_t seed = 0; seed < 4; ++seed) {
    const std::vector<Ask> asks = Maker(seed).stream(2.0, 60.0);
    Server server({}, asks);
    server.run();
    met += server.complete();
    offered += std::ssize(asks);
  }
  EXPECT_GE(static_cast<double>(met), 0.97 * static_cast<double>(offered));
}

TEST(Deadlines, TheSameStreamRunsTheSameWay) {
  const std::vector<Ask> asks = Maker(5).stream(10.0, 20.0);
  Server first({}, asks);
  first.run();
  Server again({}, asks);
  again.run();
  for (std::size_t i = 0; i < asks.size(); ++i) {
    EXPECT_EQ(first.answers()[i].end, again.answers()[i].end);
    EXPECT_EQ(first.answers()[i].tokens, again.answers()[i].tokens);
  }
}

// Whoever has no deadline is not crowded out by those who have, whatever his priority.
TEST(Deadlines, NobodyStarves) {
  std::vector<Ask> asks = Maker(6).stream(14.0, 120.0);
  for (int i = 0; i < 20; ++i) {
    asks.push_back({.at = 3.0 * i,
                    .prompt_tokens = 200,
                    .answer_tokens = 50,
                    .priority = -2,
                    .flavour = static_cast<TokenId>(2000 + i)});
  }
  Server server({}, asks);
  server.run();
  int patient = 0;
  for (std::size_t i = 0; i < asks.size(); ++i) {
    if (server.asks()[i].deadline == 0.0) {
      ++patient;
      EXPECT_TRUE(server.answers()[i].complete());
      EXPECT_LT(server.answers()[i].end - server.asks()[i].at, 45.0);  // 30 s until it goes first
    }
  }
  EXPECT_EQ(patient, 20);
}

TEST(Deadlines, PriorityGoesFirst) {
  std::vector<Ask> asks;
  for (int i = 0; i < 60; ++i) {
    asks.push_back({.at = 0.001 * i,
                    .prompt_tokens = 100,
                    .answer_tokens = 50,
                    .priority = i == 59 ? 3 : 0,
                    .flavour = static_cast<TokenId>(i + 2)});
  }
  Server server({.sequences = 4}, asks);
  server.run();
  const double urgent = server.answers()[59].first;
  const auto earlier = std::count_if(server.answers().begin(), server.answers().end(),
                                     [&](const Answer& answer) { return answer.first < urgent; });
  EXPECT_LE(earlier, 9);  // those that ran when it came, and who was chosen with it
}

TEST(Deadlines, TenantsShareTheMachineHoweverMuchTheyAsk) {
  for (const bool with_deadlines : {false, true}) {
    std::vector<Ask> asks;
    Maker maker(7);
    for (Ask ask : maker.stream(20.0, 40.0)) {  // three times what there is
      ask.tenant = "greedy";
      ask.priority = 3;  // it says that all of its requests are important: of no use
      ask.deadline = with_deadlines ? ask.deadline : 0.0;
      asks.push_back(ask);
    }
    for (Ask ask : maker.stream(2.0, 40.0)) {  // less than half of it
      ask.tenant = "modest";
      ask.deadline = with_deadlines ? 3.0 + ask.deadline : 0.0;
      asks.push_back(ask);
    }
    Server server({}, asks);
    server.run();
    std::map<std::string, std::pair<double, double>> waited;  // sum, count
    std::map<std::string, std::pair<double, double>> met;
    for (std::size_t i = 0; i < asks.size(); ++i) {
      const Ask& ask = server.asks()[i];
      const Answer& answer = server.answers()[i];
      met[ask.tenant].first += answer.complete() ? 1.0 : 0.0;
      met[ask.tenant].second += 1.0;
      waited[ask.tenant].first += answer.first - ask.at;
      waited[ask.tenant].second += 1.0;
    }
    if (with_deadlines) {
      EXPECT_GT(met["modest"].first / met["modest"].second, 0.9);
      EXPECT_LT(met["greedy"].first / met["greedy"].second, 0.6);
    } else {
      EXPECT_LT(waited["modest"].first / waited["modest"].second, 3.0);
      EXPECT_GT(waited["greedy"].first / waited["greedy"].second, 10.0);
    }
  }
}

// Even steps for a reader while one prompt comes in; when many queue behind it, more of each step is theirs.
TEST(Deadlines, WhoeverQueuesGetsMoreOfTheSteps) {
  const auto seconds_of_a_prompt = [](std::int64_t prompts) {
    std::vector<Ask> asks = {{.answer_tokens = 900}};
    for (std::int64_t i = 0; i < prompts; ++i) {
      asks.push_back({.at = 1.0,
                      .prompt_tokens = 300,
                      .answer_tokens = 1,
                      .flavour = static_cast<TokenId>(i + 2)});
    }
    Server server({.sequences = 32, .blocks = 400}, asks);
    server.run();
    double last = 0.0;
    for (std::size_t i = 1; i < asks.size(); ++i) {
      last = std::max(last, server.answers()[i].first - 1.0);
    }
    return last / static_cast<double>(prompts);
  };
  // Alone it would be 0.17 s. Steps of 10.5 ms become 1.6 times as long, which leaves 12 rows to it.
  EXPECT_NEAR(seconds_of_a_prompt(1), 25 * 0.0168, 0.08);
  // ... and 6 times as long, of which the prompt has five sixths.
  EXPECT_NEAR(seconds_of_a_prompt(20), 0.15 * 1.2 + 0.01, 0.05);
}

// Anything at all: little memory, equal beginnings, cancellations, mixed wishes. Everyone gets one
// end; what is complete was in time; nothing leaks (run() checks blocks and places).
TEST(Deadlines, RandomStreamsKeepTheRules) {
  std::map<ErrorCode, int> errors;
  std::int64_t complete = 0;
  std::int64_t preemptions = 0;
  for (std::uint32_t seed = 0; seed < 60; ++seed) {
    Maker maker(100 + seed);
    std::vector<Ask> asks = maker.stream(maker.real(2.0, 30.0), 6.0);
    for (Ask& ask : asks) {
      ask.deadline = maker.integer(0, 2) == 0 ? 0.0 : ask.deadline;
      ask.first_token_deadline =
          maker.integer(0, 3) == 0 && ask.deadline == 0.0 ? maker.real(0.05, 2.0) : 0.0;
      ask.flavour = static_cast<TokenId>(maker.integer(1, 6));
      ask.tenant = maker.integer(0, 1) == 0 ? "a" : "b";
      ask.priority = static_cast<int>(maker.integer(-3, 3));
      ask.cancel_after = maker.integer(0, 9) == 0 ? maker.real(0.01, 2.0) : 0.0;
    }
    Server server(
        {.scheduling = seed % 4 == 0 ? Scheduling::kFirstComeFirstServed : Scheduling::kDeadline,
         .sequences = maker.integer(1, 12),
         .blocks = maker.integer(16, 60)},
        asks);
    server.run();
    for (std::size_t i = 0; i < asks.size(); ++i) {
      const Ask& ask = server.asks()[i];
      const Answer& answer = server.answers()[i];
      ASSERT_TRUE(answer.finish.has_value());
      if (answer.complete()) {
        ASSERT_EQ(answer.tokens, ask.answer_tokens);
        ++complete;
      } else if (answer.finish == FinishReason::kError) {
        ASSERT_TRUE(answer.error == ErrorCode::kDeadlineExceeded ||
                    answer.error == ErrorCode::kDeadlineUnreachable);
        ASSERT_TRUE(ask.deadline > 0.0 || ask.first_token_deadline > 0.0);
        ++errors[*answer.error];
      } else {
        ASSERT_EQ(answer.finish, FinishReason::kCancelled);
        ASSERT_GT(ask.cancel_after, 0.0);
      }
    }
    preemptions += server.stats().preemptions_total;
  }
  EXPECT_GT(complete, 500);
  EXPECT_GT(errors[ErrorCode::kDeadlineExceeded], 50);
  EXPECT_GT(errors[ErrorCode::kDeadlineUnreachable], 50);
  EXPECT_GT(preemptions, 10);
}

// Eighty steps of 10.5 ms alone: in time within 1.3 s of a machine of its own, not of half of one.
TEST(Deadlines, ForecastsKnowThatTheMachineIsShared) {
  const auto run = [](const platform::Turn::Outlook& machine, double deadline) {
    // The first one is there for the costs to be learned from.
    Server server({.machine = machine}, {{.at = 0.0, .prompt_tokens = 40, .answer_tokens = 40},
                                         {.at = 5.0,
                                          .prompt_tokens = 10,
                                          .answer_tokens = 80,
                                          .deadline = deadline,
                                          .flavour = 2}});
    server.run();
    return server.answers()[1];
  };
  EXPECT_TRUE(run({}, 1.3).complete());
  const Answer refused = run({.share = 0.5, .is_shared = true}, 1.3);
  EXPECT_EQ(refused.error, ErrorCode::kDeadlineUnreachable);
  EXPECT_EQ(refused.tokens, 0);
  EXPECT_TRUE(run({.share = 0.5, .is_shared = true}, 2.6).complete());
}

TEST(Deadlines, PromptsAreReadInShortStepsWhileAnotherEngineWaits) {
  const auto longest_step = [](const platform::Turn::Outlook& machine) {
    // The first one is there for the costs to be learned from.
    Server server({.machine = machine},
                  {{.at = 0.0, .prompt_tokens = 900, .answer_tokens = 20},
                   {.at = 5.0, .prompt_tokens = 900, .answer_tokens = 1, .flavour = 2}});
    server.run();
    EXPECT_EQ(server.complete(), 2);
    return server.longest_late_step();
  };
  EXPECT_EQ(longest_step({}), 256);
  EXPECT_LE(10.0 + 0.5 * static_cast<double>(longest_step({.share = 0.5, .is_shared = true})),
            110.0);
}

// Requests that a machine without a link would all have in time.
std::vector<Ask> known_costs() {
  return std::vector<Ask>(30, Ask{.answer_tokens = 20});
}

TEST(DeadlinesOnALink, WhatItCannotSendInTimeIsRefusedAtOnce) {
  for (const bool at_once : {false, true}) {
    std::vector<Ask> asks = known_costs();
    // 10 kB in 5 s are more than 1 kB/s, though the machine needs 1 s.
    asks.push_back({.at = 100.0,
                    .answer_tokens = 80,
                    .deadline = 5.0,
                    .delivery = {.token_bytes = 100.0, .fixed_bytes = 2000.0, .at_once = at_once}});
    Server without({}, asks);
    without.run();
    EXPECT_TRUE(without.answers().back().complete());
    Server server({.link = std::make_shared<admission::Link>(1000.0)}, asks);
    server.run();
    const Answer& refused = server.answers().back();
    EXPECT_EQ(refused.error, ErrorCode::kDeadlineUnreachable);
    EXPECT_EQ(refused.tokens, 0);
    EXPECT_LT(refused.end - 100.0, 0.05);
    // Sent whole, it is computed first, which takes 0.9 s, or a little less as costs are known by then.
    EXPECT_NEAR(refused.retry_after, at_once ? 5.7 : 5.0, at_once ? 0.3 : 0.1);
    EXPECT_EQ(server.stats().refused_link_total, 1);
    EXPECT_EQ(server.stats().refused_unreachable_total, 0);
    Server faster({.link = std::make_shared<admission::Link>(4000.0)}, asks);
    faster.run();
    EXPECT_TRUE(faster.answers().back().complete());
  }
}

TEST(DeadlinesOnALink, OnlyAsManyAreLetInAsItCarries) {
  std::vector<Ask> asks = known_costs();
  const Delivery delivery = {.token_bytes = 100.0};
  for (int i = 0; i < 8; ++i) {  // each needs 0.3 of the link for 20 s, and 2 to 3 s of the machine
    asks.push_back({.at = 100.0,
                    .answer_tokens = 60,
                    .deadline = 20.0,
                    .flavour = static_cast<TokenId>(2 + i),
                    .delivery = delivery});
  }
  for (int i = 0; i < 4; ++i) {  // who has no deadline is let in all the same
    asks.push_back({.at = 100.0, .answer_tokens = 60, .delivery = delivery});
  }
  const auto link = std::make_shared<admission::Link>(1000.0);
  Server server({.sequences = 16, .link = link}, asks);
  server.run();
  int at_first = 0;
  for (std::size_t i = 30; i < asks.size(); ++i) {
    const Answer& answer = server.answers()[i];
    EXPECT_TRUE(answer.complete() || answer.error == ErrorCode::kDeadlineUnreachable);
    EXPECT_TRUE(asks[i].deadline > 0.0 || answer.complete());
    at_first += asks[i].deadline > 0.0 && answer.complete() && answer.first < 100.15 ? 1 : 0;
  }
  EXPECT_EQ(at_first, 3);
  EXPECT_EQ(link->free_share(), 1.0);
}

TEST(DeadlinesOnALink, WhatWaitsToBeSentAndOtherEnginesCount) {
  const auto link = std::make_shared<admission::Link>(1000.0);
  link->set_waiting_need(300.0);
  link->set_running_need(&link, 200.0);
  EXPECT_DOUBLE_EQ(link->free_share(), 0.5);
  std::vector<Ask> asks = known_costs();
  for (int i = 0; i < 3; ++i) {
    asks.push_back({.at = 100.0,
                    .answer_tokens = 60,
                    .deadline = 20.0,
                    .flavour = static_cast<TokenId>(2 + i),
                    .delivery = {.token_bytes = 100.0}});
  }
  Server server({.link = link}, asks);
  server.run();
  int at_first = 0;
  for (std::size_t i = 30; i < asks.size(); ++i) {
    at_first += server.answers()[i].complete() && server.answers()[i].first < 100.15 ? 1 : 0;
  }
  EXPECT_EQ(at_first, 1);
  link->set_running_need(&link, 5000.0);
  EXPECT_EQ(link->free_share(), 0.0);
}

}  // namespace
}  // namespace edgewise::engine
