#include "model/rope.h"

#include <algorithm>
#include <cmath>
#include <numbers>

#include "base/elementary.h"

namespace edgewise::model {
namespace {

// YaRN (arXiv 2309.00071, section 3.2): the pair whose wave turns `turns` times within the original context.
double pair_with_turns(const RopeSpec& rope, double rope_dims, double turns) {
  return rope_dims *
         elementary::log(rope.yarn_original_context / (turns * 2.0 * std::numbers::pi)) /
         (2.0 * elementary::log(rope.base));
}

// 1: keep the trained frequency; 0: interpolate fully.
double yarn_keep(const RopeSpec& rope, double rope_dims, double pair) {
  const double low =
      std::max(0.0, std::floor(pair_with_turns(rope, rope_dims, rope.yarn_beta_fast)));
  const double high =
      std::min(rope_dims - 1.0, std::ceil(pair_with_turns(rope, rope_dims, rope.yarn_beta_slow)));
  const double ramp = (pair - low) / std::max(0.001, high - low);
  return (1.0 - std::clamp(ramp, 0.0, 1.0)) * rope.yarn_ext_factor;
}

}  // namespace

std::vector<double> rope_frequencies(const RopeSpec& rope, std::int64_t rope_dims) {
  const auto dims = static_cast<double>(rope_dims);
  std::vector<double> frequencies;
  for (std::int64_t i = 0; i < rope_dims / 2; ++i) {
    const double trained =
        elementary::pow(rope.base, -2.0 * static_cast<double>(i) / dims) /
        (rope.factors.empty() ? 1.0
                              : static_cast<double>(rope.factors[static_cast<std::size_t>(i)]));
    const double interpolated = trained / rope.linear_factor;
    const double keep =
        rope.yarn_ext_factor == 0.0 ? 0.0 : yarn_keep(rope, dims, static_cast<double>(i));
    frequencies.push_back(interpolated * (1.0 - keep) + trained * keep);
  }
  return frequencies;
}

template <typename T>
void rope_angles(const RopeSpec& rope,
                 std::span<const double> frequencies,
                 std::int64_t position,
                 T* cos,
                 T* sin) {
  for (std::size_t i = 0; i < frequencies.size(); ++i) {
    const double angle = static_cast<double>(position) * frequencies[i];
    const elementary::SinCos turn = elementary::sin_cos(angle);
    cos[i] = static_cast<T>(turn.cos * rope.magnitude);
    sin[i] = static_cast<T>(turn.sin * rope.magnitude);
  }
}

template void rope_angles(const RopeSpec&, std::span<const double>, std::int64_t, float*, float*);
template void rope_angles(const RopeSpec&, std::span<const double>, std::int64_t, double*, double*);

}  // namespace edgewise::model
