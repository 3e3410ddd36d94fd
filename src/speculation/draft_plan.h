// How many drafted tokens each sequence brings along in a step: as many as make the step's tokens
// come fastest. A drafted token costs a row, whether it turns out right or not.
#pragma once

#include <cstdint>
#include <limits>
#include <span>
#include <vector>

#include "steps/step_times.h"

namespace edgewise::speculation {

// Guesses for one sequence: there already, or to be computed by a draft model, which takes a row of
// its own for each, all sequences together one place after the other.
struct DraftOffer {
  std::int64_t position = 0;    // of the first drafted token
  std::vector<double> chances;  // descending: that the first i + 1 drafted tokens are all right
  bool is_computed = true;      // else:
  std::int64_t missing = 1;     // rows that the draft model computes for the first guess
};

struct DraftLimits {
  double seconds = std::numeric_limits<double>::infinity();  // of the step, guessing included
  // How many times slower any text's tokens may come than without guesses.
  double slowdown = std::numeric_limits<double>::infinity();
};

struct DraftPlan {
  std::vector<std::int64_t> counts;  // drafted tokens of each offer
  double tokens = 0.0;               // expected of the step
  double seconds = 0.0;              // expected of it, the draft model's time included

  double rate() const { return tokens / seconds; }
};

// Drafted tokens of each offer. `step`: what is computed in any case, which yields `tokens` tokens;
// at most FewRowsCost::kMostRows rows in all, and within `limits`. Those that are likeliest to be right
// come first; their number maximizes the expected tokens per second, where each is taken to cost a
// tenth of the plain step at least. `draft_model`: needed where an offer is not computed.
DraftPlan plan_drafts(std::span<const DraftOffer> offers,
                      const steps::StepShape& step,
                      std::int64_t tokens,
                      const DraftLimits& limits,
                      const steps::StepTimes& target,
                      const steps::StepTimes* draft_model = nullptr);

}  // namespace edgewise::speculation
