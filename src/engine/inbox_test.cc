#include "engine/inbox.h"

#include <gtest/gtest.h>

namespace edgewise::engine {
namespace {

// A step of 10 ms and 1 ms more for each further row; 1 ms for each token of a prompt.
admission::Load idle_load() {
  admission::Load load;
  load.plain.launch_s = 0.009;
  load.plain.row_s = load.plain.prompt_token_s = 0.001;
  load.snapshot.cost = load.plain;
  load.context = 1000;
  return load;
}

TEST(Inbox, ForecastsSeeWhatCameSinceTheEngineLastLooked) {
  Inbox inbox(100, true);
  EXPECT_FALSE(inbox.load().has_value());
  inbox.report_load(idle_load());
  const auto finish_s = [&inbox](const admission::Prospect& prospect) {
    return admission::forecast(inbox.load().value(), prospect, Clock::now()).finish_s;
  };
  const admission::Prospect prospect = {.prompt_tokens = 100, .max_tokens = 50, .ignore_eos = true};
  const double before = finish_s(prospect);
  auto sequence = std::make_unique<Sequence>();
  sequence->tokens.resize(400);
  sequence->prompt_tokens = 400;
  sequence->request.max_tokens = 100;
  ASSERT_TRUE(inbox.submit(std::move(sequence)));
  EXPECT_GT(finish_s(prospect), before + 0.3);
}

TEST(Inbox, TellsItsLoadToWhoAsksTwice) {
  Inbox inbox(100);
  EXPECT_FALSE(inbox.wants_load());
  inbox.report_load(idle_load());
  EXPECT_FALSE(inbox.load().has_value());  // nobody had asked: it may be old
  EXPECT_TRUE(inbox.wants_load());
  EXPECT_FALSE(inbox.load().has_value());
  inbox.report_load(idle_load());
  EXPECT_TRUE(inbox.load().has_value());
}

TEST(Inbox, WhenFullItSaysWhenThereMayBeAPlace) {
  Inbox inbox(2);
  const auto refusal = [&] { return inbox.submit(std::make_unique<Sequence>()).error(); };
  for (int i = 0; i < 2; ++i) {
    ASSERT_TRUE(inbox.submit(std::make_unique<Sequence>()));
  }
  EXPECT_EQ(refusal().code, ErrorCode::kUnavailable);
  EXPECT_EQ(refusal().retry_after_s, 0.0);  // not known
  inbox.report({}, 0, Clock::now() + std::chrono::seconds(70));
  EXPECT_NEAR(refusal().retry_after_s, 70.0, 5.0);
  inbox.report({}, 0, Clock::now() - std::chrono::seconds(70));
  EXPECT_EQ(refusal().retry_after_s, 0.0);
}

}  // namespace
}  // namespace edgewise::engine
