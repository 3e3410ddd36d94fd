// Which positions of a prompt are taken over from other cached texts although the tokens before them differ
// (docs/decisions/013-approximate-reuse.md): a pure function over token ids.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "base/ids.h"
#include "reuse/common_runs.h"

namespace edgewise::reuse {

// How much of what could be taken over is computed all the same. Tokens that follow a change have looked at it most
// ("selective recomputation": EPIC, arXiv 2410.15332; CacheBlend, arXiv 2405.16444), and the prompt's last ones decide
// what is answered.
struct Recomputation {
  std::int64_t first = 32;  // tokens of each run
  std::int64_t last = 32;   // tokens of the prompt; at least 1
};

constexpr std::int64_t kShortestCopy = 64;  // tokens; each costs a step of its own

// Runs of prompt[computed, ...) that also stand in `sources`, without what is computed again. None where they would be less
// than what is left to compute: such a prompt is computed exactly, and the next one finds all of it.
std::vector<CommonRun> plan_reuse(std::span<const TokenId> prompt,
                                  std::int64_t computed,
                                  std::span<const std::span<const TokenId>> sources,
                                  const Recomputation& again);

}  // namespace edgewise::reuse
