#include "admission/serving_cost.h"

#include <algorithm>

namespace edgewise::admission {
namespace {

using schedule::Candidate;
using schedule::FinishTimes;

std::vector<schedule::RunningSequence> sequences_of(const std::vector<RunningView>& running,
                                                    bool with_prompts) {
  std::vector<schedule::RunningSequence> sequences;
  for (const RunningView& view : running) {
    sequences.push_back(view.sequence);
    if (!with_prompts) {
      sequences.back().remaining_prompt_tokens = 0;
    }
  }
  return sequences;
}

}  // namespace

ServingCost::ServingCost(const schedule::StepCost& cost,
                         const std::vector<RunningView>& running,
                         double prompt_share)
    : base_({cost}, sequences_of(running, true)),
      without_prompts_({cost}, sequences_of(running, false)),
      stretch_(1.0 / prompt_share - 1.0),
      answer_step_s_(cost.decode_s(static_cast<double>(running.size() + 1), 0.0)) {
  for (const RunningView& view : running) {
    const schedule::RunningSequence& its = view.sequence;
    running_prompts_.push_back(
        {view.due_s,
         cost.prompt_s(its.context_tokens - its.remaining_prompt_tokens, its.context_tokens)});
    anyone_generates_ = anyone_generates_ || its.remaining_prompt_tokens == 0;
  }
  FinishTimes alone;
  finish_times({}, alone);
  running_deadlines_ = schedule::binding_deadlines(sequences_of(running, true), alone.running);
  for (std::size_t i = 0; i < running.size(); ++i) {
    patience_s_ =
        std::min(patience_s_, running_deadlines_[i].last_token_s - alone.running[i].last_token_s);
  }
}

// With `ahead` the prompts up to and including its own, a member, or who runs and is still being
// read, has its first token after `ahead` seconds and the decode steps that come between; then what
// is left of everything else.
void ServingCost::finish_times(std::span<const Candidate> set, FinishTimes& times) const {
  base_.finish_times(set, times);
  std::vector<Prompt> prompts = running_prompts_;
  for (const Candidate& candidate : set) {
    prompts.push_back({due_s(candidate), base_.prompt_seconds(candidate)});
  }
  std::vector<std::size_t> order;
  for (std::size_t i = 0; i < prompts.size(); ++i) {
    if (i >= running_prompts_.size() || prompts[i].seconds > 0.0) {
      order.push_back(i);
    }
  }
  std::sort(order.begin(), order.end(),
            [&](std::size_t a, std::size_t b) { return prompts[a].due_s < prompts[b].due_s; });
  double ahead = 0.0;
  double undisturbed = 0.0;  // the first prompt, where nobody generates yet
  for (std::size_t k = 0; k < order.size();) {
    const double due = prompts[order[k]].due_s;
    std::size_t end = k;
    for (; end < order.size() && prompts[order[end]].due_s == due; ++end) {
      ahead += prompts[order[end]].seconds;  // equals wait for each other, whatever their order
    }
    if (k == 0 && !anyone_generates_) {
      undisturbed = ahead;
    }
    const double waiting = stretch_ * (ahead - undisturbed);
    for (; k < end; ++k) {
      const std::size_t i = order[k];
      schedule::Finish& finish =
          i < running_prompts_.size() ? times.running[i] : times.set[i - running_prompts_.size()];
      finish.first_token_s = ahead + waiting;
      finish.last_token_s += waiting;
    }
  }
}

schedule::CostModel::TimeRow ServingCost::time_capacity(const Candidate& pivot) const {
  TimeRow capacity = base_.time_capacity(pivot);
  capacity[2] = patience_s_;  // row 2: the prompts alone
  return capacity;
}

// Only between those who are read at the same place in the line.
bool ServingCost::no_slower(const Candidate& a, const Candidate& b) const {
  return base_.no_slower(a, b) && due_s(a) == due_s(b);
}

double ServingCost::due_s(const Candidate& candidate) const {
  const double answer = static_cast<double>(candidate.output_tokens) * answer_step_s_;
  return std::min(candidate.first_token_s, candidate.deadline_s - answer);
}

double ServingCost::least_lateness_s(const Candidate& candidate) const {
  FinishTimes times;
  without_prompts_.finish_times({&candidate, 1}, times);
  return std::max(times.set[0].last_token_s - candidate.deadline_s,
                  times.set[0].first_token_s - candidate.first_token_s);
}

}  // namespace edgewise::admission
