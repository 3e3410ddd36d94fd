// Who can be in time is let in, who can not is told so, and what is late ends.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>

#include "engine/timed_server.h"

namespace edgewise::engine {
namespace {

TEST(Deadlines, AnIdleMachineServesWhatItCanAndRefusesTheRestAtOnce) {
  // Alone it takes 10 + 50 ms for the prompt and 10.5 ms for each of 99 further tokens.
  Arrival ask{.prompt_tokens = 100, .answer_tokens = 100, .deadline = 1.5};
  TimedServer server({}, {ask});
  server.run();
  EXPECT_TRUE(server.answers()[0].complete());
  EXPECT_EQ(server.stats().deadlines_met_total, 1);

  ask.deadline = 0.5;
  std::vector<Arrival> asks(30, Arrival{.answer_tokens = 20});  // so that costs are known
  ask.at = 100.0;
  asks.push_back(ask);
  TimedServer late({}, asks);
  late.run();
  const Outcome& refused = late.answers().back();
  EXPECT_EQ(refused.error, ErrorCode::kDeadlineUnreachable);
  EXPECT_TRUE(refused.message.starts_with("even alone")) << refused.message;
  EXPECT_EQ(refused.tokens, 0);
  EXPECT_LT(refused.end - 100.0, 0.05);
  EXPECT_EQ(refused.retry_after, schedule::kNever);
  EXPECT_EQ(late.stats().refused_unreachable_total, 1);
}

TEST(Deadlines, TheNextEndIsKnownBeforeItComes) {
  std::vector<Arrival> asks(30, Arrival{.answer_tokens = 20});  // so that costs are known
  asks.push_back({.at = 100.0, .prompt_tokens = 50, .answer_tokens = 800});
  asks.push_back({.at = 100.0, .prompt_tokens = 50, .answer_tokens = 400});
  asks.push_back({.at = 100.0, .answer_tokens = 900, .cancel_after = 1.0});
  std::map<double, double> told;
  TimedServer* machine = nullptr;
  TimedServer server({.before_step = [&](double now) { told[now] = machine->next_end(); }}, asks);
  machine = &server;
  server.run();
  EXPECT_EQ(told.begin()->second, 0.0);  // nobody runs yet
  const double first = server.answers()[31].end;
  const double last = server.answers()[30].end;
  ASSERT_GT(first, 103.0);
  ASSERT_GT(last, first + 3.0);
  for (const auto& [now, predicted] : told) {
    if (now > 100.2) {
      const double end = now < first ? first : last;
      EXPECT_GT(predicted, end - 0.1 - 0.05 * (end - now)) << now;
      EXPECT_LT(predicted, end + 0.1 + 0.25 * (end - now)) << now;  // costs are taken with caution
    }
  }
}

TEST(Deadlines, ThatPassEndTheWorkAndFreeItsBlocks) {
  for (const Scheduling scheduling : {Scheduling::kDeadline, Scheduling::kFirstComeFirstServed}) {
    std::vector<Arrival> asks(12,
                              Arrival{.prompt_tokens = 50, .answer_tokens = 400, .deadline = 2.0});
    TimedServer server({.scheduling = scheduling}, asks);
    server.run();
    EXPECT_EQ(server.complete(), 0);
    for (const Outcome& answer : server.answers()) {
      EXPECT_TRUE(answer.error == ErrorCode::kDeadlineExceeded ||
                  answer.error == ErrorCode::kDeadlineUnreachable);
      EXPECT_LT(answer.end, 2.2);
    }
  }
}

TEST(Deadlines, AnAnswerOfNoTokensIsThereAtOnce) {
  for (const Scheduling scheduling : {Scheduling::kDeadline, Scheduling::kFirstComeFirstServed}) {
    TimedServer server({.scheduling = scheduling}, {{.answer_tokens = 0}, {.answer_tokens = 3}});
    server.run();
    EXPECT_EQ(server.answers()[0].finish, FinishReason::kLength);
    EXPECT_EQ(server.answers()[0].tokens, 0);
    EXPECT_EQ(server.answers()[1].tokens, 3);
  }
}

TEST(Deadlines, OfTheFirstTokenCountToo) {
  std::vector<Arrival> asks;
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
  TimedServer server({.sequences = 9}, asks);
  server.run();
  EXPECT_TRUE(server.answers().back().complete());
  EXPECT_LE(server.answers().back().first, 0.5 + 0.8);
  TimedServer in_turn({.scheduling = Scheduling::kFirstComeFirstServed, .sequences = 9}, asks);
  in_turn.run();
  EXPECT_EQ(in_turn.answers().back().error, ErrorCode::kDeadlineExceeded);
}

// 900 tokens are read in 0.49 s. A newcomer whose turn would come earlier takes 0.16 s of that.
TEST(Deadlines, NobodyIsLetInAtTheCostOfAFirstTokenThatIsBeingComputed) {
  const auto run = [](double first_token_deadline) {
    TimedServer server({},
                       {{.at = 0.0, .prompt_tokens = 200, .answer_tokens = 150},  // to learn from
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
  const std::vector<Outcome> tight = run(0.6);
  EXPECT_TRUE(tight[1].complete());
  EXPECT_LE(tight[1].first, 5.6);
  EXPECT_EQ(tight[2].error, ErrorCode::kDeadlineUnreachable);
  EXPECT_TRUE(tight[2].message.starts_with("with what is running")) << tight[2].message;
  EXPECT_LT(tight[2].retry_after, 1.0);
  const std::vector<Outcome> loose = run(2.0);
  EXPECT_TRUE(loose[1].complete());
  EXPECT_TRUE(loose[2].complete());
  EXPECT_LT(loose[2].first, loose[1].first);
}

// The search looks at the newcomer beside the one that runs, who leaves before it is over: the verdict is asked for again.
TEST(Deadlines, NobodyIsRefusedForThoseWhoHaveGone) {
  const auto refusal = [](bool selects_beside, double cancel_after) {
    TimedServer server(
        {.selects_beside = selects_beside},
        {{.at = 0.0, .prompt_tokens = 200, .answer_tokens = 150},  // to learn from
         {.at = 5.0, .answer_tokens = 400, .flavour = 2, .cancel_after = cancel_after},
         {.at = 5.1,
          .prompt_tokens = 200,
          .answer_tokens = 2,
          .first_token_deadline = 0.14,
          .flavour = 77}});
    server.run();
    EXPECT_EQ(server.answers()[2].error, ErrorCode::kDeadlineUnreachable);
    return server.answers()[2].message;
  };
  EXPECT_THAT(refusal(false, 0.0), ::testing::StartsWith("with what is running"));
  EXPECT_THAT(refusal(true, 0.115),
              ::testing::StartsWith("after waiting so long"));  // alone by then
}

// The first step shows how slow this machine is: the other 644 tokens of the prompt do not fit.
TEST(Deadlines, WorkThatCanNotReachItsFirstTokenInTimeIsEndedEarly) {
  TimedServer server(
      {}, {{.at = 0.0, .prompt_tokens = 900, .answer_tokens = 2, .first_token_deadline = 0.3}});
  server.run();
  EXPECT_EQ(server.answers()[0].error, ErrorCode::kDeadlineExceeded);
  EXPECT_LT(server.answers()[0].end, 0.2);
}

TEST(Deadlines, AreMetWhenThereIsTime) {
  std::int64_t met = 0;
  std::int64_t offered = 0;
  for (std::uint32_t seed = 0; seed < 4; ++seed) {
    const std::vector<Arrival> asks = ArrivalMaker(seed).stream(2.0, 60.0);
    TimedServer server({}, asks);
    server.run();
    met += server.complete();
    offered += std::ssize(asks);
  }
  EXPECT_GE(static_cast<double>(met), 0.97 * static_cast<double>(offered));
}

TEST(Deadlines, TheSameStreamRunsTheSameWay) {
  const std::vector<Arrival> asks = ArrivalMaker(5).stream(10.0, 20.0);
  TimedServer first({}, asks);
  first.run();
  TimedServer again({}, asks);
  again.run();
  for (std::size_t i = 0; i < asks.size(); ++i) {
    EXPECT_EQ(first.answers()[i].end, again.answers()[i].end);
    EXPECT_EQ(first.answers()[i].tokens, again.answers()[i].tokens);
  }
}

// Anything at all: little memory, equal beginnings, cancellations, mixed wishes. Everyone gets one
// end; what is complete was in time; nothing leaks (run() checks blocks and places).
TEST(Deadlines, RandomStreamsKeepTheRules) {
  std::map<ErrorCode, int> errors;
  std::int64_t complete = 0;
  std::int64_t preemptions = 0;
  for (std::uint32_t seed = 0; seed < 60; ++seed) {
    ArrivalMaker maker(100 + seed);
    std::vector<Arrival> asks = maker.stream(maker.real(2.0, 30.0), 6.0);
    for (Arrival& ask : asks) {
      ask.deadline = maker.integer(0, 2) == 0 ? 0.0 : ask.deadline;
      ask.first_token_deadline =
          maker.integer(0, 3) == 0 && ask.deadline == 0.0 ? maker.real(0.05, 2.0) : 0.0;
      ask.flavour = static_cast<TokenId>(maker.integer(1, 6));
      ask.tenant = maker.integer(0, 1) == 0 ? "a" : "b";
      ask.priority = static_cast<int>(maker.integer(-3, 3));
      ask.cancel_after = maker.integer(0, 9) == 0 ? maker.real(0.01, 2.0) : 0.0;
    }
    TimedServer server(
        {.scheduling = seed % 4 == 0 ? Scheduling::kFirstComeFirstServed : Scheduling::kDeadline,
         .sequences = maker.integer(1, 12),
         .blocks = maker.integer(16, 60)},
        asks);
    server.run();
    for (std::size_t i = 0; i < asks.size(); ++i) {
      const Arrival& ask = server.asks()[i];
      const Outcome& answer = server.answers()[i];
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
    TimedServer server({.machine = machine}, {{.at = 0.0, .prompt_tokens = 40, .answer_tokens = 40},
                                              {.at = 5.0,
                                               .prompt_tokens = 10,
                                               .answer_tokens = 80,
                                               .deadline = deadline,
                                               .flavour = 2}});
    server.run();
    return server.answers()[1];
  };
  EXPECT_TRUE(run({}, 1.3).complete());
  const Outcome refused = run({.share = 0.5, .is_shared = true}, 1.3);
  EXPECT_EQ(refused.error, ErrorCode::kDeadlineUnreachable);
  EXPECT_EQ(refused.tokens, 0);
  EXPECT_TRUE(refused.message.starts_with("with what is running")) << refused.message;
  EXPECT_TRUE(run({.share = 0.5, .is_shared = true}, 2.6).complete());
}

TEST(Deadlines, PromptsAreReadInShortStepsWhileAnotherEngineWaits) {
  const auto longest_step = [](const platform::Turn::Outlook& machine) {
    // The first one is there for the costs to be learned from.
    TimedServer server({.machine = machine},
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

}  // namespace
}  // namespace edgewise::engine
