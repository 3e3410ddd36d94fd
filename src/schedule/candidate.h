// What a scheduling decision is about: candidates to serve and what a node has to give.
//
// Everything in this folder is a pure function over plain structs: no clocks, no threads, no text formats.
// Times are seconds from the moment of the decision, memory is bytes, link shares are fractions of the link.
#pragma once

#include <cstdint>
#include <limits>
#include <span>
#include <vector>

namespace edgewise::schedule {

inline constexpr double kNever = std::numeric_limits<double>::infinity();

// One way to serve one request: with one variant (quantization) of the model. A request whose accuracy demand
// several variants meet is several candidates with the same `request`, of which at most one is chosen.
struct Candidate {
  std::int32_t request = 0;
  std::int32_t variant = 0;
  double value = 1.0;              // what finishing in time is worth; must be positive to be chosen
  std::int64_t prompt_tokens = 0;  // the whole prompt
  std::int64_t cached_tokens = 0;  // of these, what needs no computing; less than prompt_tokens
  std::int64_t output_tokens = 1;  // expected or at most, at least 1
  double deadline_s = kNever;      // for the last token
  double first_token_s = kNever;   // for the first
  double memory_bytes = 0.0;       // taken while it runs
  double uplink = 0.0;             // least share of the node's uplink, 0 where there is none
  double downlink = 0.0;
};

// What the node can give to the chosen ones, beside time. `variant_bytes[v]` is charged once when a candidate of
// variant v is chosen (its weights have to be loaded); empty or 0: it is there already.
struct Capacity {
  double memory_bytes = kNever;
  double uplink = 1.0;
  double downlink = 1.0;
  std::int64_t count = std::numeric_limits<std::int64_t>::max();
  std::vector<double> variant_bytes = {};

  double load_bytes(std::int32_t variant) const {
    const auto at = static_cast<std::size_t>(variant);
    return at < variant_bytes.size() ? variant_bytes[at] : 0.0;
  }
};

// Limits are kept up to rounding: sums of the same needs in another order must compare alike.
inline bool within(double need, double limit) {
  return need <= limit + 1e-9 * (limit < 0.0 ? -limit : limit);
}

// Whether `set` keeps every limit of `capacity` (not time).
bool fits(std::span<const Candidate> set, const Capacity& capacity);

}  // namespace edgewise::schedule
