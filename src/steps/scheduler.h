// Decides how many tokens each running sequence computes in the next step. A pure function of how
// far each sequence is, how far it wants to get and what steps cost; it knows no prompts and no
// blocks.
//
// There is no "prefill" and no "decode" here, as in vLLM's scheduler: a sequence that lacks one
// token is generating, one that lacks more still reads its prompt (or recomputes after it gave up
// its memory).
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "steps/step_cost.h"

namespace edgewise::steps {

struct Progress {
  std::int64_t computed = 0;  // tokens whose keys and values are in the cache
  std::int64_t target = 0;   // tokens known; target > computed for every sequence that is passed in
  bool indivisible = false;  // all missing tokens in one step, or none

  std::int64_t missing() const { return target - computed; }

  bool is_generating() const { return missing() == 1; }
};

// How long a step may take. Those who generate get their next token only when it is over.
struct StepLimits {
  std::int64_t tokens = 512;   // most rows, whatever their cost: the model's buffers grow with them
  double alone_seconds = 0.5;  // while nobody generates; bounds how long a newcomer waits
  double shared_seconds =
      0.0;  // while somebody does; 0: `stall` times what it takes without prompts
  double stall =
      1.6;  // below 2 by how much steps of one shape differ: p99 stays within 2 times p50
  double most_stall = 6.0;  // longer steps serve hardly more requests (docs/serving.md)

  // The limit of a step in which the rows of `generating` get their token.
  double seconds(const StepShape& generating, const StepCost& cost) const;
};

// Fills `shares` with how many tokens each sequence computes next, in the order of `sequences`, the most urgent first.
// Every sequence that lacks one token gets it; the others share what time is left in that order,
// the last one in part. At least one token of a prompt is planned when there is one, so that it
// moves. Limits are exceeded only for that, by an indivisible sequence that is first in line, and
// when those who generate take longer themselves.
void plan_step(std::span<const Progress> sequences,
               const StepLimits& limits,
               const StepCost& cost,
               std::vector<std::int64_t>& shares);

}  // namespace edgewise::steps
