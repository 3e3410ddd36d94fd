// What a second of the machine is worth while more is asked of it than it can do: what a long request
// has to be worth, so that serving it does not cost more than the short ones that it keeps out, which
// a decision that looks no further than itself would not see.
//
// It is the price at which the market of the last 20 seconds would have cleared: of the requests with
// deadlines that came, those worth most per second of machine fill that time; the price is the worth
// per second of the first that does not fit (the critical item of a fractional knapsack). 0 while all
// fit. One thread.
#pragma once

#include <chrono>
#include <cstdint>
#include <deque>

#include "schedule/step_cost.h"

namespace edgewise::admission {

class MachinePrice {
 public:
  using Clock = std::chrono::steady_clock;

  struct Ask {
    double worth = 1.0;
    std::int64_t prompt_tokens = 1;
    std::int64_t output_tokens = 1;
  };

  // One more has come, at `now` or before.
  void observe(const Ask& ask, Clock::time_point now);

  // `machines`: as many as this one share the work.
  double per_second(const schedule::StepCost& cost, Clock::time_point now, double machines = 1.0);

  // What a request takes of the machine while several run together.
  static double machine_seconds(const schedule::StepCost& cost,
                                std::int64_t prompt_tokens,
                                std::int64_t output_tokens);

 private:
  struct Seen {
    Ask ask;
    Clock::time_point at;
  };

  std::deque<Seen> seen_;
};

}  // namespace edgewise::admission
