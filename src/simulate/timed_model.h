// A model that says nothing and only takes time: what the engine serves in a simulation.
#pragma once

#include <functional>
#include <vector>

#include "model/model.h"
#include "schedule/step_cost.h"

namespace edgewise::simulate {

class TimedModel final : public model::Model {
 public:
  // `spend` is told the seconds of each step.
  TimedModel(const schedule::StepCost& cost,
             std::int64_t context,
             std::function<void(double)> spend);

  const model::ModelSpec& spec() const override { return spec_; }

  // The smallest there are: nothing is written to them.
  std::vector<cache::KvLayerShape> kv_shapes() const override { return {{1, 1, 1}}; }

  std::int64_t weight_bytes() const override { return 0; }

  std::int64_t weight_bytes_per_token() const override { return 0; }

  std::int64_t macs_per_token() const override { return 0; }

  model::StepResult forward(const model::StepPlan& plan, cache::KvCache& cache) override;

  void copy_positions(const model::PositionCopy&, cache::KvCache&) override {}

 private:
  schedule::StepCost cost_;
  std::function<void(double)> spend_;
  model::ModelSpec spec_;
  std::vector<float> logits_;
  std::vector<std::span<float>> rows_;  // of logits_
};

}  // namespace edgewise::simulate
