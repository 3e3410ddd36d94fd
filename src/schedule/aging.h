// Aging: what a request is worth grows while it waits, so that it is chosen in the end.
#pragma once

namespace edgewise::schedule {

// A request of base value v that has waited for w seconds is worth v (1 + w / age_s). The growth has no end: whatever
// is served in one batch is worth a bounded sum as long as newcomers are, and a request that fits alone outgrows it.
inline double aged_value(double value, double waited_s, double age_s) {
  return value * (1.0 + waited_s / age_s);
}

}  // namespace edgewise::schedule
