// What all keys of a layer have in common. The same amount added to all scores of a query changes no softmax, so 8-bit
// keys are stored without it and keep their precision for what tells them apart (Qwen2.5's biases are a hundred times
// as large as the rest).
#pragma once

#include <span>
#include <vector>

#include "model/model_spec.h"
#include "model/weights.h"

namespace edgewise::model {

// Of a key's bias [K heads, D] the channels that the rope turns by at most one radian over the trained context, 0 in the
// others; empty: nothing. `frequencies`: of the layer's rope. Requires that nothing but the rope comes after the bias.
std::vector<float> common_key(const ModelSpec& spec,
                              const LayerSpec& layer,
                              std::span<const float> bias,
                              std::span<const double> frequencies);

// The same of a model's layer; `frequencies`: of each rope.
std::vector<float> layer_common_key(const ModelSpec& spec,
                                    std::size_t layer,
                                    const LayerWeights& weights,
                                    std::span<const std::vector<double>> frequencies);

}  // namespace edgewise::model
