#include "sampling/sampling_params.h"

#include <cmath>

namespace edgewise::sampling {
namespace {

Result<void> in_range(std::string_view field, double value, double low, double high) {
  if (!(value >= low && value <= high)) {  // also refuses NaN
    return fail(ErrorCode::kInvalidArgument, "{} is {}, expected {} to {}", field, value, low,
                high);
  }
  return {};
}

}  // namespace

Result<void> validate(const SamplingParams& p) {
  constexpr double kPenalty = 2.0;      // OpenAI's range
  constexpr double kLogitBias = 100.0;  // OpenAI's range
  constexpr int kTopLogprobs = 20;      // OpenAI's range
  TRY_VOID(in_range("temperature", static_cast<double>(p.temperature), 0.0, 100.0));
  TRY_VOID(in_range("top_k", p.top_k, 0, 1e9));
  TRY_VOID(in_range("top_p", static_cast<double>(p.top_p), 0.0, 1.0));
  TRY_VOID(in_range("min_p", static_cast<double>(p.min_p), 0.0, 1.0));
  TRY_VOID(in_range("typical_p", static_cast<double>(p.typical_p), 0.0, 1.0));
  TRY_VOID(in_range("repetition_penalty", static_cast<double>(p.repetition_penalty), 0.01, 100.0));
  TRY_VOID(in_range("repetition_window", p.repetition_window, -1, 1e9));
  TRY_VOID(
      in_range("presence_penalty", static_cast<double>(p.presence_penalty), -kPenalty, kPenalty));
  TRY_VOID(
      in_range("frequency_penalty", static_cast<double>(p.frequency_penalty), -kPenalty, kPenalty));
  TRY_VOID(in_range("top_logprobs", p.top_logprobs, -1, kTopLogprobs));
  for (const auto& [token, bias] : p.logit_bias) {
    TRY_VOID(in_range(fmt::format("logit_bias[{}]", token), static_cast<double>(bias), -kLogitBias,
                      kLogitBias));
    if (token < 0) {
      return fail(ErrorCode::kInvalidArgument, "logit_bias: {} is no token", token);
    }
  }
  return {};
}

}  // namespace edgewise::sampling
