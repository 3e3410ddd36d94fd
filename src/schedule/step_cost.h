// The cost model of an engine with continuous batching, from measured step times.
//
// A step computes one row per generating sequence, or a chunk of a prompt. Its time is what starting it costs, plus
// the longer of streaming the weights and multiplying the rows with them, plus attention over the cached positions:
//
//   step(rows, positions) = launch + max(weights, row * rows) + position * positions
//
// Finish times err on the late side: all prompts of the set are computed first, most urgent first token first, then
// everyone generates in step until done. The engine overlaps the two, which only saves time.
#pragma once

#include <cstdint>
#include <vector>

#include "schedule/cost_model.h"

namespace edgewise::schedule {

// What one step computes.
struct StepLoad {
  double rows = 0.0;       // that generate
  double positions = 0.0;  // they attend to, all together
  double tokens = 0.0;     // of prompts
  double pairs = 0.0;      // of these with the positions that they attend to

  void generate(std::int64_t context) {
    rows += 1.0;
    positions += static_cast<double>(context);
  }

  void read(std::int64_t from, std::int64_t count);  // prompt positions [from, from + count)
};

// Seconds of one variant of the model on one machine.
struct StepCost {
  double launch_s = 0.0;            // each step
  double weights_s = 0.0;           // streaming the weights once
  double row_s = 0.0;               // multiplying one row with the weights
  double position_s = 0.0;          // one generating row's attention to one cached position
  double prompt_token_s = 0.0;      // one prompt token in a full chunk
  double prompt_pair_s = 0.0;       // one prompt token's attention to one position
  std::int64_t chunk_tokens = 512;  // prompt tokens of one step
  // How many times longer a prompt's chunk may make a step for those who generate: the most where each of them has a
  // deadline, else growing from the least with the queue (docs/serving.md, "Steps"). most_stall 0: no limit.
  double least_stall = 0.0;
  double most_stall = 0.0;

  double decode_s(double rows, double positions) const {
    return launch_s + (weights_s > row_s * rows ? weights_s : row_s * rows) +
           position_s * positions;
  }

  // The weights are streamed once for all rows and tokens.
  double step_s(const StepLoad& load) const {
    const double products = row_s * load.rows + prompt_token_s * load.tokens;
    return launch_s + (weights_s > products ? weights_s : products) + position_s * load.positions +
           prompt_pair_s * load.pairs;
  }

  // Steps that a prompt of `tokens` takes.
  std::int64_t chunks(std::int64_t tokens) const {
    return (tokens + chunk_tokens - 1) / chunk_tokens;
  }

  // Computing prompt positions [from, to).
  double prompt_s(std::int64_t from, std::int64_t to) const;
};

// A sequence that the engine has admitted already.
struct RunningSequence {
  std::int32_t variant = 0;
  std::int64_t context_tokens = 0;           // prompt and answer so far
  std::int64_t remaining_prompt_tokens = 0;  // of these, not computed yet
  std::int64_t remaining_output_tokens = 0;  // after what is known
  double deadline_s = kNever;
  double first_token_s = kNever;  // deadline of the first token, where that has not come yet
};

// Those of the deadlines of `running` that are met in `times`: the others bind nobody, they are lost whoever joins.
std::vector<Finish> binding_deadlines(std::span<const RunningSequence> running,
                                      std::span<const Finish> times);

class StepCostModel final : public CostModel {
 public:
  // `variants[v]` belongs to candidates and sequences with variant v. `start_s`: when the next step can begin.
  StepCostModel(std::vector<StepCost> variants,
                std::vector<RunningSequence> running,
                double start_s = 0.0);

  void finish_times(std::span<const Candidate> set, FinishTimes& times) const override;

  // Those that would be met if nobody joined.
  std::span<const Finish> running_deadlines() const override { return running_deadlines_; }

  double slack(const Candidate& candidate) const override { return candidate.deadline_s; }

  TimeRow time_needs(const Candidate& pivot, const Candidate& member) const override;
  TimeRow time_capacity(const Candidate& pivot) const override;

  double least_need(const Candidate& member) const override { return prompt_seconds(member); }

  bool no_slower(const Candidate& a, const Candidate& b) const override;

  // Computing a candidate's prompt, with the rows of the running sequences that ride along in its chunks.
  double prompt_seconds(const Candidate& candidate) const;

 private:
  const StepCost& cost(std::int32_t variant) const;
  double running_prompt_seconds(const RunningSequence& sequence) const;  // what is left of it

  std::vector<StepCost> variants_;
  std::vector<RunningSequence> running_;
  std::vector<Finish> running_deadlines_;
  double start_s_;
  double running_prompts_s_ =
      0.0;                      // the start, then prompts of running sequences, before any new one
  double rider_s_ = 0.0;        // what the rows of the generating ones add to a chunk
  double patience_s_ = kNever;  // how much later the running ones may finish without a loss
};

}  // namespace edgewise::schedule
