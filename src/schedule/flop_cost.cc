#include "schedule/flop_cost.h"

#include <algorithm>

#include "base/check.h"

namespace edgewise::schedule {

double flops(const ModelShape& shape, std::int64_t prompt_tokens, std::int64_t output_tokens) {
  const auto layers = static_cast<double>(shape.layers);
  const auto d = static_cast<double>(shape.width);
  const auto f = static_cast<double>(shape.feed_forward);
  const auto s = static_cast<double>(prompt_tokens);
  const auto n = static_cast<double>(output_tokens);
  const double prompt = 8.0 * s * d * d + 4.0 * s * s * d + 4.0 * s * d * f;
  const double token = 8.0 * d * d + 4.0 * (s + n / 2.0) * d + 4.0 * d * f;
  return layers * (prompt + (n - 1.0) * token);
}

double fp16_weight_bytes(const ModelShape& shape) {
  const auto d = static_cast<double>(shape.width);
  const auto f = static_cast<double>(shape.feed_forward);
  return 2.0 * static_cast<double>(shape.layers) * (4.0 * d * d + 2.0 * d * f);
}

double fp16_kv_bytes(const ModelShape& shape, std::int64_t tokens) {
  return 4.0 * static_cast<double>(shape.layers * shape.width * tokens);
}

double FlopCost::seconds(const Candidate& candidate) const {
  const auto variant = static_cast<std::size_t>(candidate.variant);
  CHECK(variant < options_.time_factors.size(), "variant {} has no time factor", variant);
  const std::int64_t prompt =
      options_.padded_prompt > 0 ? options_.padded_prompt : candidate.prompt_tokens;
  return options_.time_factors[variant] * flops(options_.shape, prompt, candidate.output_tokens) /
         options_.flops_per_s;
}

void FlopCost::finish_times(std::span<const Candidate> set, FinishTimes& times) const {
  double computing = 0.0;
  for (const Candidate& candidate : set) {
    computing += seconds(candidate);
  }
  const double end = within(computing, options_.compute_s)
                         ? options_.start_s + options_.upload_s + computing + options_.download_s
                         : kNever;
  times.set.assign(set.size(), {.first_token_s = end, .last_token_s = end});
  times.running.clear();
}

double FlopCost::slack(const Candidate& candidate) const {
  const double deadline = std::min(candidate.deadline_s, candidate.first_token_s);
  return std::min(deadline - options_.start_s - options_.upload_s - options_.download_s,
                  options_.compute_s);
}

CostModel::TimeRow FlopCost::time_needs(const Candidate&, const Candidate& member) const {
  return {seconds(member), 0.0, 0.0};
}

CostModel::TimeRow FlopCost::time_capacity(const Candidate& pivot) const {
  return {slack(pivot), kNever, kNever};
}

}  // namespace edgewise::schedule
