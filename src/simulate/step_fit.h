// Step costs (schedule/step_cost.h) from measured steps: the coefficients with the least squared relative error. The
// same samples give the same coefficients.
#pragma once

#include <cstdint>
#include <span>

#include "schedule/step_cost.h"

namespace edgewise::simulate {

// A step that gave each of `rows` sequences a token; `positions`: cached ones attended, of all rows.
struct DecodeSample {
  double rows = 0.0;
  double positions = 0.0;
  double seconds = 0.0;
};

// A step that computed prompt positions [from, from + tokens).
struct PromptSample {
  std::int64_t from = 0;
  std::int64_t tokens = 0;
  double seconds = 0.0;
};

struct StepFit {
  schedule::StepCost cost;
  double decode_error = 0.0;  // the largest |predicted / measured - 1|
  double prompt_error = 0.0;
};

// Requires decode samples of at least two row counts, and prompt samples of at least two beginnings.
StepFit fit_step_cost(std::span<const DecodeSample> decode,
                      std::span<const PromptSample> prompt,
                      std::int64_t chunk_tokens);

}  // namespace edgewise::simulate
