// Deadlines in seconds, for the parts of Runner that reckon with them. Internal to engine/.
#pragma once

#include <chrono>
#include <optional>

#include "base/seconds.h"
#include "engine/engine.h"
#include "schedule/candidate.h"

namespace edgewise::engine {

constexpr double kDelivery = 0.010;  // from a drawn token to the client, seconds

inline Clock::duration duration_of(double seconds) {
  return std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(seconds));
}

// That are left to draw a token which has to be there at `time`; without one: schedule::kNever.
inline double seconds_until(const std::optional<Clock::time_point>& time, Clock::time_point now) {
  return time.has_value() ? seconds_between(now, *time) - kDelivery : schedule::kNever;
}

inline bool has_deadline(const Request& request) {
  return request.deadline.has_value() || request.first_token_deadline.has_value();
}

}  // namespace edgewise::engine
