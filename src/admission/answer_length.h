// How many tokens an answer will have, learned from the answers before it. One thread.
//
// An estimate is a quantile of recent lengths among those that were longer than what is there
// already, so it follows the workload and grows with the answer itself. An answer that was cut at
// its limit only says that it would have been longer (Kaplan and Meier 1958).
#pragma once

#include <compare>
#include <cstdint>
#include <deque>
#include <vector>

namespace edgewise::admission {

class AnswerLength {
 public:
  // An answer that was free to end by itself; `was_cut`: its limit came first.
  void observe(std::int64_t tokens, bool was_cut);

  // Tokens still to come of an answer that has `generated` and at most `limit` (> generated) in all:
  // at least 1. Most answers need no more than the first, and no less than the second.
  std::int64_t remaining(std::int64_t generated, std::int64_t limit) const;
  std::int64_t least_remaining(std::int64_t generated, std::int64_t limit) const;

 private:
  struct Length {
    std::int64_t tokens = 0;
    bool was_cut = false;

    auto operator<=>(const Length&) const = default;
  };

  void estimate_survival();
  std::int64_t quantile(double q,
                        std::int64_t generated,
                        std::int64_t limit,
                        std::int64_t unknown) const;

  std::deque<Length> recent_;
  std::vector<Length> sorted_;    // the same, ascending
  std::vector<double> survival_;  // [i] share of answers that are longer than sorted_[i]
};

}  // namespace edgewise::admission
