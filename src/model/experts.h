// A layer's mixture of experts: a softmax router picks the experts of each token; each expert runs once over all
// its tokens. Contributions are added in ascending expert id, so a token's result does not depend on its neighbours.
#pragma once

#include <cstdint>
#include <vector>

#include "kernels/ops.h"
#include "model/model_spec.h"
#include "model/row_buffer.h"
#include "model/weights.h"

namespace edgewise::model {

class ExpertMixture {
 public:
  // What a layer's router and experts read of x.
  static Reader reader_of(const LayerWeights& layer);

  ExpertMixture(const ModelSpec& spec, kernels::Ops& ops) : spec_(spec), ops_(ops) {}

  // out[t] = sum over the chosen experts of weight * down(act(gate(x[t])) * up(x[t])). x: [rows, C] values;
  // with
  // its codes where reader_of() asks for them.
  void run(const LayerWeights& layer, const kernels::Activations& x, RowBuffer& out);

 private:
  struct Choice {
    std::int64_t row;
    float weight;
  };

  void route(const LayerWeights& layer, const kernels::Activations& x);
  void choose(float* probabilities, std::int64_t row);
  kernels::Activations gather(const kernels::Activations& x,
                              std::span<const Choice> choices,
                              bool codes);
  void run_expert(const Expert& expert,
                  const kernels::Activations& x,
                  std::span<const Choice> choices,
                  RowBuffer& out);

  const ModelSpec& spec_;
  kernels::Ops& ops_;
  RowBuffer router_;                         // [T, E]
  std::vector<std::vector<Choice>> chosen_;  // of each expert, rows ascending
  std::vector<std::int32_t> ids_;            // of one token
  kernels::ActivationBuffer gathered_;       // [rows of one expert, C]
  kernels::ActivationBuffer hidden_;         // [rows of one expert, F]
  RowBuffer gate_up_;
  RowBuffer down_;
};

}  // namespace edgewise::model
