#include "model/common_key.h"

namespace edgewise::model {
namespace {

// What the rope makes of a channel that it leaves nearly where it is: a factor; 0 where it turns it.
double kept(const ModelSpec& spec,
            const LayerSpec& layer,
            std::span<const double> frequencies,
            std::int64_t channel) {
  if (!layer.rope || channel >= spec.rope_dims) {
    return 1.0;
  }
  const std::int64_t pair =
      spec.rope_style == kernels::RopeStyle::kNorm ? channel / 2 : channel % (spec.rope_dims / 2);
  const double turn =
      frequencies[static_cast<std::size_t>(pair)] * static_cast<double>(spec.context);
  return turn <= 1.0 ? spec.ropes[static_cast<std::size_t>(layer.rope_table)].magnitude : 0.0;
}

}  // namespace

std::vector<float> common_key(const ModelSpec& spec,
                              const LayerSpec& layer,
                              std::span<const float> bias,
                              std::span<const double> frequencies) {
  if (spec.attention_softcap > 0.0F) {  // what moves all scores moves their caps differently
    return {};
  }
  std::vector<float> common(bias.begin(), bias.end());
  for (std::size_t i = 0; i < common.size(); ++i) {
    const std::int64_t channel = static_cast<std::int64_t>(i) % spec.head_dim;
    common[i] *= static_cast<float>(kept(spec, layer, frequencies, channel));
  }
  return common;
}

std::vector<float> layer_common_key(const ModelSpec& spec,
                                    std::size_t layer,
                                    const LayerWeights& weights,
                                    std::span<const std::vector<double>> frequencies) {
  if (weights.k_norm.is_present()) {  // comes after the bias
    return {};
  }
  const LayerSpec& of = spec.layers[layer];
  return common_key(
      spec, of, weights.k.bias,
      of.rope && spec.rope_dims > 0
          ? std::span<const double>(frequencies[static_cast<std::size_t>(of.rope_table)])
          : std::span<const double>());
}

}  // namespace edgewise::model
