// Decides how many tokens each running sequence computes in the next step. A pure function of how
// far each sequence is and how far it wants to get; it knows no prompts, no blocks, no time.
//
// There is no "prefill" and no "decode" here, as in vLLM's scheduler: a sequence that lacks one
// token is generating, one that lacks more still reads its prompt (or recomputes after it gave up
// its memory).
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace edgewise::engine {

struct Progress {
  std::int64_t computed = 0;  // tokens whose keys and values are in the cache
  std::int64_t target = 0;   // tokens known; target > computed for every sequence that is passed in
  bool indivisible = false;  // all missing tokens in one step, or none
};

// How many tokens each sequence computes next, in the order of `sequences` (arrival order). Every
// sequence that lacks one token gets it; what is left of `budget` goes to the others in arrival
// order, the last one in part. At least one token is planned when `sequences` is not empty. The
// budget is exceeded only by an indivisible sequence that is first in line, and when more than
// `budget` sequences are generating.
std::vector<std::int64_t> plan_step(std::span<const Progress> sequences, std::int64_t budget);

}  // namespace edgewise::engine
