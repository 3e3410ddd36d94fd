// How many tokens an answer will have, learned from the answers before it. One thread.
//
// An estimate is a quantile of recent lengths among those that were longer than what is there
// already, so it follows the workload and grows with the answer itself.
#pragma once

#include <cstdint>
#include <deque>
#include <vector>

namespace edgewise::admission {

class AnswerLength {
 public:
  void observe(std::int64_t tokens);  // an answer that was free to end by itself

  // Tokens still to come of an answer that has `generated` and at most `limit` (> generated) in all:
  // at least 1. Most answers need no more than the first, and no less than the second.
  std::int64_t remaining(std::int64_t generated, std::int64_t limit) const;
  std::int64_t least_remaining(std::int64_t generated, std::int64_t limit) const;

 private:
  std::int64_t quantile(double q,
                        std::int64_t generated,
                        std::int64_t limit,
                        std::int64_t unknown) const;

  std::deque<std::int64_t> recent_;
  std::vector<std::int64_t> sorted_;  // the same, ascending
};

}  // namespace edgewise::admission
