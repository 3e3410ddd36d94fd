// How many drafted tokens each sequence brings along in a step: as many as make the step's tokens
// come fastest. A drafted token costs a row, whether it turns out right or not.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <vector>

#include "engine/step_cost.h"

namespace edgewise::engine {

// What a step of few rows takes. StepCost draws a line through all of them; really there is a floor,
// the time to read the weights, then a slope, and stairs where tiles are full. So what it is wrong
// by is learned for each number of rows. One thread.
class FewRowsCost {
 public:
  static constexpr std::int64_t kMostRows = 16;

  // Steps of more rows are ignored.
  void observe(const StepShape& shape, double seconds, const StepCost& cost);
  double seconds(const StepShape& shape, const StepCost& cost) const;

 private:
  struct Correction {
    double log_factor = 0.0;
    double weight = 0.0;
  };

  std::array<Correction, kMostRows + 1> corrections_ = {};  // by rows
};

struct DraftOffer {
  std::int64_t position = 0;    // of the first drafted token
  std::vector<double> chances;  // descending: that the first i + 1 drafted tokens are all right
};

// Drafted tokens of each offer. `step`: what is computed in any case, which yields `tokens` tokens;
// at most kMostRows rows in all, and within `limit` seconds. Those that are likeliest to be right
// come first; their number maximizes the expected tokens per second, where each is taken to cost a
// tenth of the plain step at least.
std::vector<std::int64_t> plan_drafts(std::span<const DraftOffer> offers,
                                      const StepShape& step,
                                      std::int64_t tokens,
                                      double limit,
                                      const StepCost& cost,
                                      const FewRowsCost& few_rows);

}  // namespace edgewise::engine
