#include "reuse/reuse_plan.h"

#include <algorithm>

namespace edgewise::reuse {

std::vector<CommonRun> plan_reuse(std::span<const TokenId> prompt,
                                  std::int64_t computed,
                                  std::span<const std::span<const TokenId>> sources,
                                  const Recomputation& again) {
  const std::int64_t end = std::ssize(prompt) - std::max<std::int64_t>(1, again.last);
  if (end - computed < again.first + kShortestCopy) {
    return {};
  }
  std::vector<CommonRun> runs =
      find_common_runs(prompt.first(static_cast<std::size_t>(end)), computed, sources,
                       std::max(kShortestRun, again.first + kShortestCopy));
  std::int64_t copied = 0;
  for (CommonRun& run : runs) {
    run.begin += again.first;
    run.from += again.first;
    run.length -= again.first;
    copied += run.length;
  }
  const std::int64_t left = std::ssize(prompt) - computed - copied;
  return copied >= left ? runs : std::vector<CommonRun>();
}

}  // namespace edgewise::reuse
