#include "schedule/spread.h"

#include "schedule/assignment_state.h"

namespace edgewise::schedule {
namespace {

constexpr double kLeastGain = 1e-6;  // seconds

class Spreader {
 public:
  Spreader(std::span<const NodeProblem> nodes,
           const std::vector<std::vector<std::int32_t>>& chosen,
           std::int64_t max_moves)
      : ways_(nodes), state_(ways_), moves_left_(max_moves) {
    for (std::size_t e = 0; e < chosen.size(); ++e) {
      for (const std::int32_t candidate : chosen[e]) {
        state_.add(e, candidate);
      }
    }
  }

  std::vector<std::vector<std::int32_t>> run() {
    while (improve_any()) {
    }
    return state_.chosen();
  }

 private:
  struct Move {
    std::size_t to = 0;
    std::int32_t way = -1;
    double gain = kLeastGain;
  };

  bool improve_any() {
    bool improved = false;
    for (std::int32_t request = 0; request < ways_.requests(); ++request) {
      improved = improve(request) || improved;
    }
    return improved;
  }

  // Sends the request to where it gains most.
  bool improve(std::int32_t request) {
    const std::int32_t from = state_.node_of(request);
    if (from < 0) {
      return false;
    }
    const double relief = relief_of(static_cast<std::size_t>(from), request);
    Move best;
    for (std::size_t e = 0; e < ways_.nodes().size(); ++e) {
      if (static_cast<std::int32_t>(e) == from) {
        continue;
      }
      for (const std::int32_t way : ways_.of(e, request)) {
        if (moves_left_-- <= 0) {
          return false;
        }
        if (ways_.candidate(e, way).value < state_.value_of(request) ||
            !state_.can_replace(e, -1, way)) {
          continue;
        }
        const double gain = relief - (ending(e, -1, way) - ending(e, -1, -1));
        if (gain > best.gain) {
          best = {.to = e, .way = way, .gain = gain};
        }
      }
    }
    if (best.way >= 0) {
      state_.add(best.to, best.way);
    }
    return best.way >= 0;
  }

  // What the node's times of ending lose in sum when the request goes, its own included.
  double relief_of(std::size_t node, std::int32_t request) const {
    return ending(node, -1, -1) - ending(node, request, -1);
  }

  // The sum of the times at which the node's set, without the request `without` and with the candidate `with` (-1:
  // none), and what runs there end.
  double ending(std::size_t node, std::int32_t without, std::int32_t with) const {
    std::vector<Candidate> set;
    for (const std::int32_t member : state_.chosen()[node]) {
      if (ways_.candidate(node, member).request != without) {
        set.push_back(ways_.candidate(node, member));
      }
    }
    if (with >= 0) {
      set.push_back(ways_.candidate(node, with));
    }
    FinishTimes times;
    ways_.nodes()[node].cost->finish_times(set, times);
    double sum = 0.0;
    for (const auto& finishes : {times.set, times.running}) {
      for (const Finish& finish : finishes) {
        sum += finish.last_token_s;
      }
    }
    return sum;
  }

  Ways ways_;
  AssignmentState state_;
  std::int64_t moves_left_;
};

}  // namespace

std::vector<std::vector<std::int32_t>> spread(std::span<const NodeProblem> nodes,
                                              const std::vector<std::vector<std::int32_t>>& chosen,
                                              std::int64_t max_moves) {
  return Spreader(nodes, chosen, max_moves).run();
}

}  // namespace edgewise::schedule
