// `bench --profile`: where the time of the measured steps went, as a table and as JSON.
#pragma once

#include <string>
#include <string_view>

#include "json_writer.h"
#include "kernels/ceilings.h"
#include "kernels/step_profile.h"

namespace edgewise::app {

struct StepBreakdown {
  kernels::StepProfile profile;
  double seconds = 0.0;  // of the steps, on the clock
  int workers = 1;
};

// Phases that ran, in the order of a layer: share of the time, what the workers waited, and the rate of products.
// The rest is what the calling thread did between the loops.
void print_breakdown(std::string_view title,
                     const StepBreakdown& of,
                     const kernels::Ceilings& ceilings);

// "31.3 (63 %)"
std::string rate_and_share(double rate, double ceiling);

// As the field "phases" of the object that is being written.
void print_breakdown(JsonWriter& json, const StepBreakdown& of, const kernels::Ceilings& ceilings);

}  // namespace edgewise::app
