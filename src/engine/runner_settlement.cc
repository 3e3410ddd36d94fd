// The part of Runner that settles accounts: what a sequence costs its tenant, and what its end teaches.
#include <cmath>

#include "base/log.h"
#include "engine/deadline.h"
#include "engine/runner.h"

namespace edgewise::engine {
namespace {

std::string_view describe(FinishReason reason) {
  switch (reason) {
    case FinishReason::kEnd:
      return "ended";
    case FinishReason::kLength:
      return "reached its length";
    case FinishReason::kStopped:
      return "was complete for its receiver";
    case FinishReason::kCancelled:
      return "was cancelled";
    case FinishReason::kError:
      return "was refused or failed";
  }
  return "";
}

}  // namespace

// What its tenant pays for a sequence that is let in, or the correction when it ends.
void Runner::charge(Sequence& sequence, std::int64_t output_tokens) {
  const schedule::StepCost cost =
      admission::planning_cost(times_.cost(), options_.limits.tokens, 1.0);
  const std::int64_t reused = sequence.cached_tokens + sequence.approximate_tokens;
  const double seconds = cost.prompt_s(reused, sequence.prompt_tokens) +
                         static_cast<double>(output_tokens) * cost.row_s;
  const double weighted = seconds * std::exp2(sequence.request.priority);
  fair_.charge(sequence.request.tenant, weighted - sequence.charged_seconds,
               sequence.request.share);
  sequence.charged_seconds = weighted;
}

// The end of a sequence, for whoever learns from it or waits for its place.
void Runner::settle(Sequence& sequence, FinishReason reason) {
  changed_ = true;
  const Request& request = sequence.request;
  const bool has_ended = reason == FinishReason::kEnd || reason == FinishReason::kStopped;
  const bool is_complete = has_ended || reason == FinishReason::kLength;
  if (sequence.admitted.has_value()) {
    charge(sequence, sequence.generated());
  }
  fair_.leave(request.tenant);
  if (is_complete && !request.ignore_eos && !request.embedding) {
    lengths_.observe(sequence.generated(), /*was_cut=*/!has_ended);
  }
  if (is_complete && has_deadline(request)) {
    ++stats_.deadlines_met_total;
  }
  log(LogLevel::kInfo,
      "{} {}: prompt {} (cached {}, approximate {}), answer {}, waited {:.3f} s of {:.3f} s",
      request.label.empty() ? fmt::format("request {}", sequence.id) : request.label,
      describe(reason), sequence.prompt_tokens, sequence.cached_tokens, sequence.approximate_tokens,
      sequence.generated(),
      seconds_between(sequence.submitted, sequence.admitted.value_or(options_.now())),
      seconds_between(sequence.submitted, options_.now()));
}

}  // namespace edgewise::engine
