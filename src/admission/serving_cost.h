// The time that joining takes in this engine: schedule::StepCostModel, with prompts read the most
// urgent first (of those who run, too) and only in a share of the time while others generate.
//
// Who joins begins to generate that much later than if his prompt came at once; in sum nobody
// computes more. So times are never shorter than the base's, and its bounds bound these.
#pragma once

#include <vector>

#include "schedule/step_cost.h"

namespace edgewise::admission {

// A sequence that has been let in.
struct RunningView {
  schedule::RunningSequence sequence;
  double due_s = schedule::kNever;  // to begin reading what is left of its prompt
  // Seconds in which the link sends what is still to come of it, and those until it should have.
  double send_s = 0.0;
  double send_by_s = schedule::kNever;
};

class ServingCost final : public schedule::CostModel {
 public:
  // `prompt_share`: of the time that goes to prompts while somebody generates, in (0, 1].
  ServingCost(const schedule::StepCost& cost,
              const std::vector<RunningView>& running,
              double prompt_share);

  void finish_times(std::span<const schedule::Candidate> set,
                    schedule::FinishTimes& times) const override;

  // Those that would be met if nobody joined: last tokens, and first ones of who is still being read.
  std::span<const schedule::Finish> running_deadlines() const override {
    return running_deadlines_;
  }

  double slack(const schedule::Candidate& candidate) const override {
    return base_.slack(candidate);
  }

  TimeRow time_needs(const schedule::Candidate& pivot,
                     const schedule::Candidate& member) const override {
    return base_.time_needs(pivot, member);
  }

  TimeRow time_capacity(const schedule::Candidate& pivot) const override;

  double least_need(const schedule::Candidate& member) const override {
    return base_.least_need(member);
  }

  bool no_slower(const schedule::Candidate& a, const schedule::Candidate& b) const override;

  // When it has to begin reading its prompt: before its first token's deadline, and so long before
  // its last one's that its answer fits in between.
  double due_s(const schedule::Candidate& candidate) const;

  // How much too late it would be if it were the only newcomer, and first in line: whatever happens,
  // it will not be earlier. 0 or less: it could be in time.
  double least_lateness_s(const schedule::Candidate& candidate) const;

 private:
  struct Prompt {
    double due_s = 0.0;
    double seconds = 0.0;
  };

  schedule::StepCostModel base_;
  schedule::StepCostModel without_prompts_;  // of the running
  std::vector<Prompt> running_prompts_;      // as the running; 0 seconds where it is read
  double stretch_;                           // waiting per second of prompt ahead
  double answer_step_s_;                     // one step of those who run and one more
  bool anyone_generates_ = false;
  std::vector<schedule::Finish> running_deadlines_;
  double patience_s_ = schedule::kNever;
};

}  // namespace edgewise::admission
