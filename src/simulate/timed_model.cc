#include "simulate/timed_model.h"

namespace edgewise::simulate {
namespace {

constexpr std::size_t kVocab = 2;

}  // namespace

TimedModel::TimedModel(const schedule::StepCost& cost,
                       std::int64_t context,
                       std::function<void(double)> spend)
    : cost_(cost), spend_(std::move(spend)) {
  spec_.architecture = "timed";
  spec_.vocab = kVocab;
  spec_.context = context;
  spec_.layers.resize(1);
}

model::StepResult TimedModel::forward(const model::StepPlan& plan, cache::KvCache& /*cache*/) {
  schedule::StepLoad load;
  std::size_t draws = 0;
  for (const model::Segment& segment : plan.segments) {
    const std::int64_t tokens = std::ssize(segment.tokens);
    const bool draws_token = segment.want != model::Want::kNothing;
    draws += draws_token ? 1 : 0;
    if (tokens == 1 && draws_token) {
      load.generate(segment.first_position + 1);
    } else {
      load.read(segment.first_position, tokens);
    }
  }
  spend_(cost_.step_s(load));
  logits_.assign(kVocab * draws, 0.0F);
  rows_.clear();
  for (std::size_t row = 0; row < draws; ++row) {
    rows_.push_back(std::span(logits_).subspan(kVocab * row, kVocab));
  }
  return {rows_};
}

}  // namespace edgewise::simulate
