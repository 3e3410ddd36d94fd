// What serving a request is worth: by its priority, by how far its tenant is ahead of the others, and by how long it has waited
// (docs/serving.md, Who is let in).
#pragma once

#include <algorithm>
#include <cmath>

namespace edgewise::admission {

// `lead_s`: FairShare::lead of its tenant; `waited_s`: 0 where a deadline ends the waiting.
inline double worth(double priority, double lead_s, double waited_s) {
  constexpr double kStepOfPriority = 10.0;  // waiting this long is worth as much as one of priority
  constexpr double kStepOfLead = 1.0;       // ... and a tenant's being so far ahead takes one away
  constexpr double kMostExponent = 14.0;    // values further apart would be lost in rounding
  return std::exp2(std::clamp(priority - lead_s / kStepOfLead + waited_s / kStepOfPriority,
                              -kMostExponent, kMostExponent));
}

}  // namespace edgewise::admission
