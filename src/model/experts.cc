#include "model/experts.h"

#include <algorithm>
#include <array>
#include <numeric>

namespace edgewise::model {
namespace {

template <typename T>
void copy_row(const T* from, std::int64_t row, T* to, std::int64_t index, std::int64_t width) {
  std::copy_n(from + row * width, width, to + index * width);
}

}  // namespace

Reader ExpertMixture::reader_of(const LayerWeights& layer) {
  const Expert& first = layer.experts.front();  // all experts are slices of the same tensors
  Reader reader = model::reader_of({&layer.router, &first.gate, &first.up});
  reader.values = true;  // gather() copies them
  return reader;
}

void ExpertMixture::run(const LayerWeights& layer, const kernels::Activations& x, RowBuffer& out) {
  route(layer, x);
  for (std::int64_t t = 0; t < x.rows; ++t) {
    std::fill_n(out.row(t), out.width(), 0.0F);
  }
  const bool codes = reader_of(layer).codes;
  for (std::size_t e = 0; e < layer.experts.size(); ++e) {
    const std::span<const Choice> choices = chosen_[e];
    if (!choices.empty()) {
      const bool all = std::ssize(choices) == x.rows;
      run_expert(layer.experts[e], all ? x : gather(x, choices, codes), choices, out);
    }
  }
}

void ExpertMixture::route(const LayerWeights& layer, const kernels::Activations& x) {
  router_.resize(x.rows, spec_.experts);
  const kernels::MatmulJob job{&layer.router.packed, router_.row(0), router_.stride()};
  ops_.matmul({&job, 1}, x);
  chosen_.resize(layer.experts.size());
  for (auto& choices : chosen_) {
    choices.clear();
    choices.reserve(static_cast<std::size_t>(x.rows));
  }
  for (std::int64_t t = 0; t < x.rows; ++t) {
    ops_.kernels().softmax(spec_.experts, router_.row(t));
    choose(router_.row(t), t);
  }
}

void ExpertMixture::choose(float* probabilities, std::int64_t row) {
  ids_.resize(static_cast<std::size_t>(spec_.experts));
  std::iota(ids_.begin(), ids_.end(), 0);
  const auto used = ids_.begin() + spec_.experts_used;
  std::partial_sort(ids_.begin(), used, ids_.end(), [&](std::int32_t a, std::int32_t b) {
    return probabilities[a] != probabilities[b] ? probabilities[a] > probabilities[b] : a < b;
  });
  std::sort(ids_.begin(), used);
  float total = 0.0F;
  std::for_each(ids_.begin(), used, [&](std::int32_t id) { total += probabilities[id]; });
  const float divisor = spec_.expert_weights_normalized ? total : 1.0F;
  std::for_each(ids_.begin(), used, [&](std::int32_t id) {
    chosen_[static_cast<std::size_t>(id)].push_back(
        {row, probabilities[id] / divisor * spec_.expert_weights_scale});
  });
}

kernels::Activations ExpertMixture::gather(const kernels::Activations& x,
                                           std::span<const Choice> choices,
                                           bool codes) {
  gathered_.resize(std::ssize(choices), x.cols);
  for (std::size_t i = 0; i < choices.size(); ++i) {
    const auto to = static_cast<std::int64_t>(i);
    const std::int64_t from = choices[i].row;
    copy_row(x.values, from, gathered_.values(), to, x.cols);
    if (codes) {
      std::copy_n(x.row(from), x.cols / kernels::kBlock, gathered_.row(to));
    }
  }
  return gathered_.view();
}

void ExpertMixture::run_expert(const Expert& expert,
                               const kernels::Activations& x,
                               std::span<const Choice> choices,
                               RowBuffer& out) {
  const std::int64_t rows = std::ssize(choices);
  const std::int64_t width = spec_.expert_width;
  const kernels::KernelTable& kernels = ops_.kernels();
  gate_up_.resize(rows, 2 * width);
  const std::array<kernels::MatmulJob, 2> jobs{
      {{&expert.gate.packed, gate_up_.row(0), gate_up_.stride()},
       {&expert.up.packed, gate_up_.row(0) + width, gate_up_.stride()}}};
  ops_.matmul(jobs, x);
  hidden_.resize(rows, width);
  const auto act = spec_.activation == Activation::kSilu ? kernels.silu_mul : kernels.gelu_mul;
  ops_.for_rows(rows, width * 4, [&](std::int64_t t) {
    act(gate_up_.row(t), gate_up_.row(t) + width, width, hidden_.values() + t * width);
  });
  down_.resize(rows, spec_.width);
  const kernels::MatmulJob job{&expert.down.packed, down_.row(0), down_.stride()};
  multiply(ops_, hidden_, {&job, 1});
  ops_.for_rows(rows, spec_.width, [&](std::int64_t t) {
    const Choice& choice = choices[static_cast<std::size_t>(t)];
    kernels.add_scaled(down_.row(t), choice.weight, spec_.width, out.row(choice.row));
  });
}

}  // namespace edgewise::model
