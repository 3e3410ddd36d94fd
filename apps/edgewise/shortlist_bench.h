// Decoding a real text with the output layer's shortlist against decoding it without, step by step in turn.
#pragma once

#include <string>
#include <vector>

#include "bare_model.h"

namespace edgewise::app {

struct ShortlistMeasurement {
  std::int64_t largest = 0;  // logits asked for: 1 is greedy decoding
  std::int64_t steps = 0;
  double full_seconds = 0.0;  // of all steps, with all logits
  double seconds = 0.0;       // ... with the largest only
  kernels::ShortlistCounts counts;
};

// Follows the text's tokens from the 64th on for `steps` steps, at each asking for all logits and for the `largest`
// ones. Fails when a logit that was reported differs, or one of the largest was not.
Result<ShortlistMeasurement> measure_shortlist(BareModel& bare,
                                               const std::string& text_file,
                                               std::int64_t largest,
                                               std::int64_t steps);

}  // namespace edgewise::app
