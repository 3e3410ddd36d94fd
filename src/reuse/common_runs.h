// Where a text says the same as texts that are known already, possibly at other positions: a pure function
// over token ids.
//
// Seed and extend: every 16th 16-gram of the known texts is an anchor, a rolling hash over the text
// (Karp & Rabin 1987) finds anchors in it, and tokens are compared to both sides of each. Of the runs that are
// found the longest is taken first, then the longest of what is left (greedy string tiling, Wise 1993).
// A run of at least 31 tokens has an anchor in it, so all of them are found, unless the texts repeat
// themselves so much that the work is cut short (kMostCompared): then some may be missed. None is invented.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "base/ids.h"

namespace edgewise::reuse {

struct CommonRun {
  std::int64_t begin = 0;  // in the text
  std::int64_t length = 0;
  std::size_t source = 0;  // index of the known text
  std::int64_t from = 0;   // in it

  std::int64_t end() const { return begin + length; }

  bool operator==(const CommonRun&) const = default;
};

constexpr std::int64_t kShortestRun = 31;                      // that is found for certain
constexpr std::int64_t kMostCompared = std::int64_t{1} << 20;  // tokens, about 1 ms
constexpr std::size_t kMostRuns = 8;

// Runs in text[first, end) that do not overlap, by ascending `begin`, at most kMostRuns. None is shorter than `shortest`,
// which is at least kShortestRun.
std::vector<CommonRun> find_common_runs(std::span<const TokenId> text,
                                        std::int64_t first,
                                        std::span<const std::span<const TokenId>> sources,
                                        std::int64_t shortest);

}  // namespace edgewise::reuse
