#include "admission/forecast.h"

#include <gtest/gtest.h>

namespace edgewise::admission {
namespace {

// A step of 10 ms and 1 ms more for each further row; 1 ms for each token of a prompt.
Load idle_load(double factor = 1.0) {
  Load load;
  load.plain.launch_s = 0.009 * factor;
  load.plain.row_s = 0.001 * factor;
  load.plain.prompt_token_s = 0.001 * factor;
  load.snapshot.cost = load.plain;
  load.context = 1000;
  return load;
}

RunningView running(std::int64_t remaining) {
  RunningView view;
  view.sequence.context_tokens = 10;
  view.sequence.remaining_output_tokens = remaining;
  return view;
}

Clock::time_point now() {
  return Clock::time_point() + std::chrono::seconds(100);
}

TEST(Forecast, AnIdleEngineTakesThePromptAndItsSteps) {
  const Forecast result =
      forecast(idle_load(), {.prompt_tokens = 100, .max_tokens = 50, .ignore_eos = true}, now());
  EXPECT_NEAR(result.finish_s, 0.1 + 50 * 0.01, 0.05);
  EXPECT_NEAR(result.machine_s, result.finish_s, 1e-9);
  EXPECT_LE(result.late_s, 0.0);  // it has no deadline
}

TEST(Forecast, JoiningOthersCostsLittleOfTheMachine) {
  Load load = idle_load();
  load.snapshot.running = {running(200), running(200)};
  const Prospect prospect = {.prompt_tokens = 10, .max_tokens = 100, .ignore_eos = true};
  const Forecast beside = forecast(load, prospect, now());
  const Forecast alone = forecast(idle_load(), prospect, now());
  EXPECT_LT(beside.machine_s, alone.machine_s / 2);
  EXPECT_GT(beside.finish_s, alone.finish_s);
}

TEST(Forecast, IsLateByWhatRunsWaitsAndComputesElsewhere) {
  const Prospect prospect = {.prompt_tokens = 10,
                             .max_tokens = 50,
                             .ignore_eos = true,
                             .deadline = now() + std::chrono::milliseconds(700)};
  EXPECT_LE(forecast(idle_load(), prospect, now()).late_s, 0.0);

  Load shared = idle_load(2.0);  // half of the machine is another engine's
  shared.plain = idle_load().plain;
  EXPECT_GT(forecast(shared, prospect, now()).late_s, 0.0);
  EXPECT_NEAR(forecast(shared, prospect, now()).machine_s,
              forecast(idle_load(), prospect, now()).machine_s, 1e-9);

  Load queue = idle_load();
  for (int i = 0; i < 20; ++i) {
    Contender contender;
    contender.candidate = candidate_of({.prompt_tokens = 100, .max_tokens = 50}, queue, now());
    queue.snapshot.waiting.push_back(contender);
  }
  EXPECT_GT(forecast(queue, prospect, now()).late_s, 0.0);

  const Prospect impatient = {.prompt_tokens = 500,
                              .max_tokens = 1,
                              .first_token_deadline = now() + std::chrono::milliseconds(200)};
  EXPECT_GT(forecast(idle_load(), impatient, now()).late_s, 0.0);
}

TEST(Forecast, AnswersEndByThemselvesAsTheyUsuallyDo) {
  Load load = idle_load();
  load.usual_answer = 30;
  EXPECT_EQ(candidate_of({.prompt_tokens = 10}, load, now()).output_tokens, 30);
  EXPECT_EQ(candidate_of({.prompt_tokens = 10, .max_tokens = 5}, load, now()).output_tokens, 5);
  EXPECT_EQ(candidate_of({.prompt_tokens = 10, .min_tokens = 80}, load, now()).output_tokens, 80);
  EXPECT_EQ(candidate_of({.prompt_tokens = 990, .ignore_eos = true}, load, now()).output_tokens,
            10);
  EXPECT_EQ(candidate_of({.prompt_tokens = 5000}, load, now()).output_tokens, 1);
}

}  // namespace
}  // namespace edgewise::admission
