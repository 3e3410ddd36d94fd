// More is asked of the machine than it can do: who gets it, under Scheduling::kDeadline and against first come
// first served.
#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <string>
#include <utility>

#include "engine/timed_server.h"

namespace edgewise::engine {
namespace {

// A long request is let in where it fits just now; over a while it takes the place of several short
// ones. Without a price of the machine's time 3,355 were met, with it 3,680.
TEST(Overload, LongRequestsDoNotKeepShortOnesOut) {
  std::int64_t met = 0;
  for (std::uint32_t seed = 10; seed < 16; ++seed) {
    TimedServer server({}, ArrivalMaker(seed).stream(14.0, 60.0));
    server.run();
    met += server.complete();
  }
  EXPECT_GT(met, 3500);
}

TEST(Overload, MoreAreMetThanFirstComeFirstServedMeets) {
  std::int64_t met = 0;
  std::int64_t met_in_turn = 0;
  std::int64_t offered = 0;
  for (std::uint32_t seed = 0; seed < 4; ++seed) {
    const std::vector<Arrival> asks =
        ArrivalMaker(seed).stream(14.0, 30.0);  // about twice what it can
    TimedServer server({}, asks);
    server.run();
    TimedServer in_turn({.scheduling = Scheduling::kFirstComeFirstServed}, asks);
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

// Whoever has no deadline is not crowded out by those who have, whatever his priority.
TEST(Overload, NobodyStarves) {
  std::vector<Arrival> asks = ArrivalMaker(6).stream(14.0, 120.0);
  for (int i = 0; i < 20; ++i) {
    asks.push_back({.at = 3.0 * i,
                    .prompt_tokens = 200,
                    .answer_tokens = 50,
                    .priority = -2,
                    .flavour = static_cast<TokenId>(2000 + i)});
  }
  TimedServer server({}, asks);
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

TEST(Overload, PriorityGoesFirst) {
  std::vector<Arrival> asks;
  for (int i = 0; i < 60; ++i) {
    asks.push_back({.at = 0.001 * i,
                    .prompt_tokens = 100,
                    .answer_tokens = 50,
                    .priority = i == 59 ? 3 : 0,
                    .flavour = static_cast<TokenId>(i + 2)});
  }
  TimedServer server({.sequences = 4}, asks);
  server.run();
  const double urgent = server.answers()[59].first;
  const auto earlier = std::count_if(server.answers().begin(), server.answers().end(),
                                     [&](const Outcome& answer) { return answer.first < urgent; });
  EXPECT_LE(earlier, 9);  // those that ran when it came, and who was chosen with it
}

TEST(Overload, TenantsShareTheMachineHoweverMuchTheyAsk) {
  for (const bool with_deadlines : {false, true}) {
    std::vector<Arrival> asks;
    ArrivalMaker maker(7);
    for (Arrival ask : maker.stream(20.0, 40.0)) {  // three times what there is
      ask.tenant = "greedy";
      ask.priority = 3;  // it says that all of its requests are important: of no use
      ask.deadline = with_deadlines ? ask.deadline : 0.0;
      asks.push_back(ask);
    }
    for (Arrival ask : maker.stream(2.0, 40.0)) {  // less than half of it
      ask.tenant = "modest";
      ask.deadline = with_deadlines ? 3.0 + ask.deadline : 0.0;
      asks.push_back(ask);
    }
    TimedServer server({}, asks);
    server.run();
    std::map<std::string, std::pair<double, double>> waited;  // sum, count
    std::map<std::string, std::pair<double, double>> met;
    for (std::size_t i = 0; i < asks.size(); ++i) {
      const Arrival& ask = server.asks()[i];
      const Outcome& answer = server.answers()[i];
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
TEST(Overload, WhoeverQueuesGetsMoreOfTheSteps) {
  const auto seconds_of_a_prompt = [](std::int64_t prompts) {
    std::vector<Arrival> asks = {{.answer_tokens = 900}};
    for (std::int64_t i = 0; i < prompts; ++i) {
      asks.push_back({.at = 1.0,
                      .prompt_tokens = 300,
                      .answer_tokens = 1,
                      .flavour = static_cast<TokenId>(i + 2)});
    }
    TimedServer server({.sequences = 32, .blocks = 400}, asks);
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

}  // namespace
}  // namespace edgewise::engine
