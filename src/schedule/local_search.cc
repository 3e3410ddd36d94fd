// The changes by which assign() improves on the residual-profit method.
#include <algorithm>

#include "schedule/assignment_state.h"

namespace edgewise::schedule {
namespace {

constexpr double kLeastGain = 1e-9;

class LocalSearch {
 public:
  LocalSearch(const Ways& ways, AssignmentState& state, const SearchLimits& limits)
      : ways_(ways), state_(state), limits_(limits) {}

  std::int64_t run() {
    while (!is_out_of_time() && (refill_any() || make_room_anywhere())) {
    }
    return searched_;
  }

 private:
  bool is_out_of_time() const { return limits_.out_of_time && limits_.out_of_time(); }

  std::size_t nodes() const { return ways_.nodes().size(); }

  // As often as a search may take decisions, so that many waiting requests do not make this last.
  bool can_replace(std::size_t e, std::int32_t out, std::int32_t in) {
    if (tried_ >= limits_.max_nodes) {
      return false;
    }
    ++tried_;
    return state_.can_replace(e, out, in);
  }

  bool refill_any() {
    bool gained = false;
    for (std::size_t e = 0; e < nodes(); ++e) {
      gained = refill(e) || gained;
    }
    return gained;
  }

  // The best set for a node of those that it serves and nobody serves: inserts, ejects and exchanges at once.
  bool refill(std::size_t e) {
    const NodeProblem& node = ways_.nodes()[e];
    std::vector<Candidate> candidates;
    std::vector<std::int32_t> origin;
    double before = 0.0;
    for (std::size_t c = 0; c < node.candidates.size(); ++c) {
      const std::int32_t holder = state_.node_of(node.candidates[c].request);
      if (holder < 0 || holder == static_cast<std::int32_t>(e)) {
        candidates.push_back(node.candidates[c]);
        origin.push_back(static_cast<std::int32_t>(c));
      }
    }
    const std::vector<std::int32_t> old = state_.chosen()[e];
    if (candidates.size() == old.size()) {
      return false;  // all of them are here
    }
    for (const std::int32_t c : old) {
      before += ways_.candidate(e, c).value;
    }
    const Selection best = select_batch(candidates, *node.cost, node.capacity, limits_);
    searched_ += best.nodes;
    if (best.value <= before + kLeastGain) {
      return false;
    }
    for (const std::int32_t c : old) {
      state_.release(ways_.candidate(e, c).request);
    }
    for (const std::int32_t c : best.chosen) {
      state_.add(e, origin[static_cast<std::size_t>(c)]);
    }
    return true;
  }

  bool make_room_anywhere() {
    for (std::int32_t request = 0; request < ways_.requests(); ++request) {
      for (std::size_t e = 0; e < nodes() && state_.node_of(request) < 0; ++e) {
        for (const std::int32_t in : ways_.of(e, request)) {
          if (make_room(e, in)) {
            return true;
          }
        }
      }
    }
    return false;
  }

  // Lets a member of node e give way to `in`.
  bool make_room(std::size_t e, std::int32_t in) {
    const std::vector<std::int32_t> members = state_.chosen()[e];
    for (const std::int32_t out : members) {
      if (is_out_of_time()) {
        return false;
      }
      if (!can_replace(e, out, in)) {
        continue;
      }
      for (std::size_t other = 0; other < nodes(); ++other) {
        if (other != e && (move(e, out, in, other) || swap(e, out, in, other))) {
          return true;
        }
      }
    }
    return false;
  }

  // `out` leaves node e for another that has room, `in` comes in its place.
  bool move(std::size_t e, std::int32_t out, std::int32_t in, std::size_t other) {
    const Candidate& leaving = ways_.candidate(e, out);
    for (const std::int32_t way : ways_.of(other, leaving.request)) {
      const double gain =
          ways_.candidate(e, in).value + ways_.candidate(other, way).value - leaving.value;
      if (gain > kLeastGain && can_replace(other, -1, way)) {
        state_.add(other, way);
        state_.add(e, in);
        return true;
      }
    }
    return false;
  }

  // `out` changes places with a member of another node that, instead of it, leaves room at e for `in` too.
  bool swap(std::size_t e, std::int32_t out, std::int32_t in, std::size_t other) {
    const std::vector<std::int32_t> members = state_.chosen()[other];
    for (const std::int32_t way : ways_.of(other, ways_.candidate(e, out).request)) {
      for (const std::int32_t back : members) {
        if (can_replace(other, back, way) && exchange(e, in, other, way, back)) {
          return true;
        }
      }
    }
    return false;
  }

  bool exchange(
      std::size_t e, std::int32_t in, std::size_t other, std::int32_t way, std::int32_t back) {
    const AssignmentState before = state_;
    const std::int32_t returning = ways_.candidate(other, back).request;
    state_.release(returning);
    state_.add(other, way);
    state_.add(e, in);
    for (const std::int32_t here : ways_.of(e, returning)) {
      if (can_replace(e, -1, here)) {
        state_.add(e, here);
        break;
      }
    }
    if (state_.value() > before.value() + kLeastGain) {
      return true;
    }
    state_ = before;
    return false;
  }

  const Ways& ways_;
  AssignmentState& state_;
  const SearchLimits& limits_;
  std::int64_t searched_ = 0;
  std::int64_t tried_ = 0;  // changes
};

}  // namespace

std::int64_t improve(const Ways& ways, AssignmentState& state, const SearchLimits& limits) {
  return LocalSearch(ways, state, limits).run();
}

}  // namespace edgewise::schedule
