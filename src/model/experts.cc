#include "model/experts.h"

#include <algorithm>
#include <utility>

namespace edgewise::model {

using kernels::Phase;

Reader ExpertMixture::reader_of(const LayerWeights& layer) {
  const Expert& first = layer.experts.front();  // all experts are slices of the same tensors
  return model::reader_of({&layer.router, &first.gate, &first.up});
}

void ExpertMixture::run(const LayerWeights& layer, const kernels::Activations& x, RowBuffer& out) {
  // A slice's rows are copied for each expert that they use, so its memory is that of `experts_used` times as many. In so
  // many rows each of 128 experts is used some 30 times, enough for its weights to be read once.
  constexpr std::int64_t kMostRows = 512;
  for (std::int64_t begin = 0; begin < x.rows; begin += kMostRows) {
    run_rows(layer, x.part(begin, std::min(begin + kMostRows, x.rows)), out, begin);
  }
}

void ExpertMixture::run_rows(const LayerWeights& layer,
                             const kernels::Activations& x,
                             RowBuffer& out,
                             std::int64_t first) {
  ops_.enter(Phase::kExpertChoice);
  route(layer, x);
  group(x.rows);
  const kernels::Activations gathered = x.rows == 1 ? x : gather(layer, x);
  ops_.enter(Phase::kExpertGateUp);
  multiply_gate_up(layer, gathered);
  ops_.enter(Phase::kExpertActivation);
  activate(layer);
  ops_.enter(Phase::kExpertDown);
  multiply_down(layer);
  ops_.enter(Phase::kExpertSum);
  add_up(out, first);
}

std::span<ExpertMixture::Choice> ExpertMixture::choices_of(std::int64_t row) {
  return std::span(choices_).subspan(static_cast<std::size_t>(row * spec_.experts_used),
                                     static_cast<std::size_t>(spec_.experts_used));
}

void ExpertMixture::route(const LayerWeights& layer, const kernels::Activations& x) {
  constexpr std::int64_t kExponentialCost = 8;  // in touched elements
  router_.resize(x.rows, spec_.experts);
  const kernels::MatmulJob job{&layer.router.packed, router_.row(0), router_.stride()};
  ops_.matmul({&job, 1}, x);
  choices_.resize(static_cast<std::size_t>(x.rows * spec_.experts_used));
  ops_.for_rows(x.rows, spec_.experts * kExponentialCost, [&](std::int64_t t) {
    ops_.kernels().softmax(spec_.experts, router_.row(t));
    choose(router_.row(t), choices_of(t));
  });
}

// Keeps the likeliest so far in descending order, of equal ones the lower id first.
void ExpertMixture::choose(const float* probabilities, std::span<Choice> chosen) const {
  auto end = chosen.begin();
  for (std::int64_t id = 0; id < spec_.experts; ++id) {
    const float p = probabilities[id];
    if (end < chosen.end()) {
      ++end;
    } else if (!(p > chosen.back().weight)) {
      continue;
    }
    const auto place =
        std::upper_bound(chosen.begin(), end - 1, p,
                         [](float mine, const Choice& other) { return mine > other.weight; });
    std::move_backward(place, end - 1, end);
    *place = {id, p};
  }
  std::ranges::sort(chosen, {}, &Choice::expert);
  float total = 0.0F;
  for (const Choice& choice : chosen) {
    total += choice.weight;
  }
  const float divisor = spec_.expert_weights_normalized ? total : 1.0F;
  for (Choice& choice : chosen) {
    choice.weight = choice.weight / divisor * spec_.expert_weights_scale;
  }
}

// Gives each choice its place: expert after expert, tokens ascending.
void ExpertMixture::group(std::int64_t rows) {
  next_.assign(static_cast<std::size_t>(spec_.experts), 0);
  for (const Choice& choice : choices_) {
    ++next_[static_cast<std::size_t>(choice.expert)];
  }
  // As many as there may be, whatever is chosen: so decoding allocates nothing.
  const auto most = static_cast<std::size_t>(std::min(spec_.experts, places()));
  groups_.clear();
  groups_.reserve(most);
  jobs_.reserve(2 * most);
  std::int64_t first = 0;
  for (std::int64_t id = 0; id < spec_.experts; ++id) {
    const std::int64_t count = std::exchange(next_[static_cast<std::size_t>(id)], first);
    if (count > 0) {
      groups_.push_back({id, first, count});
    }
    first += count;
  }
  rows_.resize(choices_.size());
  for (std::int64_t t = 0; t < rows; ++t) {
    for (Choice& choice : choices_of(t)) {
      choice.place = next_[static_cast<std::size_t>(choice.expert)]++;
      rows_[static_cast<std::size_t>(choice.place)] = t;
    }
  }
}

kernels::Activations ExpertMixture::gather(const LayerWeights& layer,
                                           const kernels::Activations& x) {
  const Expert& first = layer.experts.front();
  const Reader reader = model::reader_of({&first.gate, &first.up});
  gathered_.resize(places(), x.cols);
  ops_.for_rows(places(), x.cols, [&](std::int64_t place) {
    const std::int64_t row = rows_[static_cast<std::size_t>(place)];
    if (reader.values) {
      std::copy_n(x.values + row * x.cols, x.cols, gathered_.values() + place * x.cols);
    }
    if (reader.codes) {
      std::copy_n(x.row(row), x.cols / kernels::kBlock, gathered_.row(place));
    }
  });
  return gathered_.view();
}

// x: a row for each place, or one that all groups read.
void ExpertMixture::multiply_gate_up(const LayerWeights& layer, const kernels::Activations& x) {
  const std::int64_t width = spec_.expert_width;
  gate_up_.resize(places(), 2 * width);
  jobs_.clear();
  for (const Group& group : groups_) {
    const Expert& expert = layer.experts[static_cast<std::size_t>(group.expert)];
    const kernels::Activations own =
        x.rows == 1 ? x : x.part(group.first, group.first + group.rows);
    float* out = gate_up_.row(group.first);
    jobs_.push_back({{&expert.gate.packed, out, gate_up_.stride()}, own});
    jobs_.push_back({{&expert.up.packed, out + width, gate_up_.stride()}, own});
  }
  ops_.matmul(jobs_);
}

void ExpertMixture::activate(const LayerWeights& layer) {
  const kernels::KernelTable& kernels = ops_.kernels();
  const std::int64_t width = spec_.expert_width;
  const Reader reader = model::reader_of({&layer.experts.front().down});
  const auto act = spec_.activation == Activation::kSilu ? kernels.silu_mul : kernels.gelu_mul;
  hidden_.resize(places(), width);
  ops_.for_rows(places(), width * 4, [&](std::int64_t place) {
    float* gate = gate_up_.row(place);
    // What only codes are made of stays in its row.
    float* out = reader.values ? hidden_.values() + place * width : gate;
    act(gate, gate + width, width, out);
    if (reader.codes) {
      kernels.quantize_row(out, width, hidden_.row(place));
    }
  });
}

void ExpertMixture::multiply_down(const LayerWeights& layer) {
  down_.resize(places(), spec_.width);
  jobs_.clear();
  for (const Group& group : groups_) {
    const Expert& expert = layer.experts[static_cast<std::size_t>(group.expert)];
    jobs_.push_back({{&expert.down.packed, down_.row(group.first), down_.stride()},
                     hidden_.view().part(group.first, group.first + group.rows)});
  }
  ops_.matmul(jobs_);
}

void ExpertMixture::add_up(RowBuffer& out, std::int64_t first) {
  const kernels::KernelTable& kernels = ops_.kernels();
  ops_.for_rows(places() / spec_.experts_used, spec_.width * spec_.experts_used,
                [&](std::int64_t t) {
                  float* to = out.row(first + t);
                  std::fill_n(to, spec_.width, 0.0F);
                  for (const Choice& choice : choices_of(t)) {
                    kernels.add_scaled(down_.row(choice.place), choice.weight, spec_.width, to);
                  }
                });
}

}  // namespace edgewise::model
