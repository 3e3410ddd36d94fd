// A layer's mixture of experts: a softmax router picks the experts of each token; all chosen experts run together, each once
// over its tokens of a slice. Contributions are added in ascending expert id, so a token's result does not depend on its neighbours.
#pragma once

#include <cstdint>
#include <span>
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

  // out[t] = sum over the chosen experts of weight * down(act(gate(x[t])) * up(x[t])). x: [rows, C], in the forms that
  // reader_of() asks for.
  void run(const LayerWeights& layer, const kernels::Activations& x, RowBuffer& out);

 private:
  // One expert of a token.
  struct Choice {
    std::int64_t expert = 0;
    float weight = 0.0F;
    std::int64_t place = 0;  // the row of the buffers below that is this token's at this expert
  };

  // An expert and its places.
  struct Group {
    std::int64_t expert = 0;
    std::int64_t first = 0, rows = 0;
  };

  // Of some rows, whose first is `first` of out.
  void run_rows(const LayerWeights& layer,
                const kernels::Activations& x,
                RowBuffer& out,
                std::int64_t first);
  void route(const LayerWeights& layer, const kernels::Activations& x);
  void choose(const float* probabilities, std::span<Choice> chosen) const;
  void group(std::int64_t rows);
  kernels::Activations gather(const LayerWeights& layer, const kernels::Activations& x);
  void multiply_gate_up(const LayerWeights& layer, const kernels::Activations& x);
  void activate(const LayerWeights& layer);
  void multiply_down(const LayerWeights& layer);
  void add_up(RowBuffer& out, std::int64_t first);

  std::span<Choice> choices_of(std::int64_t row);

  std::int64_t places() const { return std::ssize(choices_); }

  const ModelSpec& spec_;
  kernels::Ops& ops_;
  RowBuffer router_;                       // [T, E]
  std::vector<Choice> choices_;            // [T, used] a token's experts ascending
  std::vector<Group> groups_;              // of the chosen experts, ascending
  std::vector<std::int64_t> next_;         // [E] how many chose it, then its next place
  std::vector<std::int64_t> rows_;         // [places] of x
  std::vector<kernels::GroupedJob> jobs_;  // of one loop
  kernels::ActivationBuffer gathered_;     // [places, C] of more than one token
  RowBuffer gate_up_;                      // [places, 2 F]
  kernels::ActivationBuffer hidden_;       // [places, F]
  RowBuffer down_;                         // [places, C]
};

}  // namespace edgewise::model
