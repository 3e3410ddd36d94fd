// Deadlines where the link to the receivers is limited.
#include <gtest/gtest.h>

#include "engine/timed_server.h"

namespace edgewise::engine {
namespace {

// Requests that a machine without a link would all have in time.
std::vector<Arrival> known_costs() {
  return std::vector<Arrival>(30, Arrival{.answer_tokens = 20});
}

TEST(DeadlinesOnALink, WhatItCannotSendInTimeIsRefusedAtOnce) {
  for (const bool at_once : {false, true}) {
    std::vector<Arrival> asks = known_costs();
    // 10 kB in 5 s are more than 1 kB/s, though the machine needs 1 s.
    asks.push_back({.at = 100.0,
                    .answer_tokens = 80,
                    .deadline = 5.0,
                    .delivery = {.token_bytes = 100.0, .fixed_bytes = 2000.0, .at_once = at_once}});
    TimedServer without({}, asks);
    without.run();
    EXPECT_TRUE(without.answers().back().complete());
    TimedServer server({.link = std::make_shared<admission::Link>(1000.0)}, asks);
    server.run();
    const Outcome& refused = server.answers().back();
    EXPECT_EQ(refused.error, ErrorCode::kDeadlineUnreachable);
    EXPECT_EQ(refused.tokens, 0);
    EXPECT_LT(refused.end - 100.0, 0.05);
    // Sent whole, it is computed first, which takes 0.9 s, or a little less as costs are known by then.
    EXPECT_TRUE(refused.message.starts_with("the link is too slow: even alone")) << refused.message;
    EXPECT_NE(refused.message.find(at_once ? "sent 5." : "sent 5.0 s"), std::string::npos)
        << refused.message;
    EXPECT_EQ(refused.retry_after, schedule::kNever);
    EXPECT_EQ(server.stats().refused_link_total, 1);
    EXPECT_EQ(server.stats().refused_unreachable_total, 0);
    TimedServer faster({.link = std::make_shared<admission::Link>(4000.0)}, asks);
    faster.run();
    EXPECT_TRUE(faster.answers().back().complete());
  }
}

TEST(DeadlinesOnALink, OnlyAsManyAreLetInAsItCarries) {
  std::vector<Arrival> asks = known_costs();
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
  TimedServer server({.sequences = 16, .link = link}, asks);
  server.run();
  int at_first = 0;
  for (std::size_t i = 30; i < asks.size(); ++i) {
    const Outcome& answer = server.answers()[i];
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
  std::vector<Arrival> asks = known_costs();
  for (int i = 0; i < 3; ++i) {
    asks.push_back({.at = 100.0,
                    .answer_tokens = 60,
                    .deadline = 20.0,
                    .flavour = static_cast<TokenId>(2 + i),
                    .delivery = {.token_bytes = 100.0}});
  }
  TimedServer server({.link = link}, asks);
  server.run();
  int at_first = 0;
  for (std::size_t i = 30; i < asks.size(); ++i) {
    at_first += server.answers()[i].complete() && server.answers()[i].first < 100.15 ? 1 : 0;
  }
  EXPECT_EQ(at_first, 1);
  link->set_running_need(&link, 5000.0);
  EXPECT_EQ(link->free_share(), 0.0);
}

// 6 kB within 20 s, of a link of 1 kB/s.
Arrival urgent(double at) {
  return {.at = at, .answer_tokens = 60, .deadline = 20.0, .delivery = {.token_bytes = 100.0}};
}

TEST(DeadlinesOnALink, NobodyTakesWhatOthersWerePromisedThoughNothingRuns) {
  const auto link = std::make_shared<admission::Link>(1000.0);
  std::vector<Arrival> asks = known_costs();
  asks.push_back(urgent(100.0));
  asks.push_back({.at = 101.0, .answer_tokens = 60, .flavour = 2});
  TimedServer server({.link = link,
                      .before_step =
                          [&](double seconds) {
                            link->set_running_need(&link,
                                                   seconds > 99.0 && seconds < 105.0 ? 900.0 : 0.0);
                          }},
                     asks);
  server.run();
  const Outcome& held = server.answers()[30];
  EXPECT_TRUE(held.complete());
  EXPECT_GT(held.first, 105.0);
  EXPECT_LT(held.first, 105.1);
  const Outcome& other = server.answers()[31];  // has no deadline: needs no share
  EXPECT_TRUE(other.complete());
  EXPECT_LT(other.first, 101.1);
}

TEST(DeadlinesOnALink, WhoIsHeldBackIsRefusedWhenItIsTooLate) {
  const auto link = std::make_shared<admission::Link>(1000.0);
  link->set_running_need(&link, 900.0);
  std::vector<Arrival> asks = known_costs();
  asks.push_back(urgent(100.0));
  TimedServer server({.link = link}, asks);
  server.run();
  const Outcome& refused = server.answers().back();
  EXPECT_EQ(refused.error, ErrorCode::kDeadlineUnreachable);
  EXPECT_EQ(refused.tokens, 0);
  EXPECT_EQ(server.stats().refused_link_total, 1);
  EXPECT_NEAR(refused.end, 114.0, 0.2);  // 6 s before its deadline
  EXPECT_TRUE(refused.message.starts_with("the link is too slow: with what is promised"))
      << refused.message;
  EXPECT_LT(refused.retry_after, 1.0);
  EXPECT_DOUBLE_EQ(link->free_share(), 0.1);
}

// Where nobody else needs the link, whoever comes may try, though as much as is expected of him it would not carry.
TEST(DeadlinesOnALink, WhoIsAloneMayTry) {
  std::vector<Arrival> asks = known_costs();
  asks.push_back(urgent(100.0));
  asks.back().delivery.token_bytes = 330.0;
  TimedServer server({.link = std::make_shared<admission::Link>(1000.0)}, asks);
  server.run();
  EXPECT_TRUE(server.answers().back().complete());
}

}  // namespace
}  // namespace edgewise::engine
