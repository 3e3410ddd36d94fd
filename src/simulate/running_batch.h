// A node with continuous batching, step by step: what the engine does, on measured step costs.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "schedule/node.h"
#include "schedule/step_cost.h"

namespace edgewise::simulate {

class RunningBatch {
 public:
  struct Sequence {
    std::size_t arrival = 0;  // whose it is
    std::int32_t variant = 0;
    std::int64_t prompt_tokens = 1;
    std::int64_t computed_tokens = 0;  // of the prompt
    std::int64_t output_tokens = 1;
    std::int64_t answered_tokens = 0;
    double deadline_s = schedule::kNever;  // on the clock of the simulation
    double memory_bytes = 0.0;

    bool is_done() const { return answered_tokens == output_tokens; }
  };

  // `profile` must outlive this.
  explicit RunningBatch(const schedule::NodeProfile& profile) : profile_(&profile) {}

  bool is_empty() const { return sequences_.empty(); }

  // Joins at the next step.
  void join(const Sequence& sequence) { sequences_.push_back(sequence); }

  // Takes one step: a chunk of the first prompt that is not computed, or a token for everyone. Either way whoever
  // generated before the step gets a token, and the chunk is as short as StepCost's stalls ask for: by how many are
  // queued beside the batch, or the most. Returns the step's seconds.
  double step(std::optional<std::int64_t> queued = std::nullopt);

  // Those that are done, or whose deadline has passed and whose client has hung up.
  std::vector<Sequence> leave(double now);

  // As a decision sees them.
  std::vector<schedule::RunningSequence> snapshot(double now) const;

  // Takes away what the sequences hold.
  void charge(schedule::Capacity& capacity) const;

 private:
  const schedule::StepCost& cost(const Sequence& sequence) const {
    return profile_->variants[static_cast<std::size_t>(sequence.variant)].step;
  }

  double compute_chunk(Sequence& sequence, std::optional<std::int64_t> queued);
  std::int64_t chunk_end(const Sequence& sequence, std::optional<std::int64_t> queued) const;
  double generate_all();
  double generating_s() const;  // a step of who generates, without prompts

  const schedule::NodeProfile* profile_;
  std::vector<Sequence> sequences_;
};

}  // namespace edgewise::simulate
