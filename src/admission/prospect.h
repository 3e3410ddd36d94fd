// What is asked about a request before it is submitted, and what an engine says of it.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>

namespace edgewise::admission {

using Clock = std::chrono::steady_clock;

// A request that has not been submitted.
struct Prospect {
  std::int64_t prompt_tokens = 1;
  std::int64_t cached_tokens = 0;  // of these, that the cache is believed to have
  std::int64_t max_tokens = -1;    // as in Request, and so the rest
  std::int64_t min_tokens = 0;
  bool ignore_eos = false;
  std::optional<Clock::time_point> deadline = std::nullopt;
  std::optional<Clock::time_point> first_token_deadline = std::nullopt;
};

struct Forecast {
  double finish_s = 0.0;  // seconds from now to its last token
  double late_s = 0.0;    // beyond its deadlines; at most 0: in time
  double machine_s =
      0.0;  // computing that it adds to the engine's, whoever else computes meanwhile
};

}  // namespace edgewise::admission
