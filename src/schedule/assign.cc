#include "schedule/assign.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "schedule/assignment_state.h"

namespace edgewise::schedule {
namespace {

constexpr std::size_t kMostNodesForAllOrders = 4;

class Assigner {
 public:
  Assigner(std::span<const NodeProblem> nodes, const AssignOptions& options)
      : nodes_(nodes), options_(options), ways_(nodes), best_(ways_) {
    const std::vector<double> values = ways_.best_values();
    all_served_ = std::accumulate(values.begin(), values.end(), 0.0);
  }

  Assignment run() {
    std::vector<std::size_t> order(nodes_.size());
    std::iota(order.begin(), order.end(), std::size_t{0});
    if (options_.all_orders && order.size() <= kMostNodesForAllOrders) {
      try_orders(order, 0, AssignmentState(ways_), true);
    } else {
      try_order(order);
      if (options_.all_orders) {
        std::reverse(order.begin(), order.end());
        try_order(order);
      }
    }
    Assignment result;
    result.greedy_value = best_.value();
    if (options_.local_search && !serves_everyone()) {
      searched_ += improve(ways_, best_, options_.search);
    }
    result.has_guarantee = has_guarantee_ || serves_everyone();
    result.chosen = best_.chosen();
    result.value = best_.value();
    result.upper_bound = std::max(result.value, upper_bound(result.value));
    result.nodes = searched_;
    return result;
  }

 private:
  bool serves_everyone() const { return best_.value() >= all_served_ * (1.0 - 1e-12); }

  void try_order(const std::vector<std::size_t>& order) {
    AssignmentState state(ways_);
    bool exact = true;
    for (const std::size_t e : order) {
      exact = fill(state, e) && exact;
    }
    keep_if_better(std::move(state), exact);
  }

  // All orders that begin with the first `done` of `order`, which `state` has gone through.
  void try_orders(std::vector<std::size_t> order,
                  std::size_t done,
                  const AssignmentState& state,
                  bool exact) {
    if (done == order.size()) {
      keep_if_better(state, exact);
      return;
    }
    for (std::size_t next = done; next < order.size() && !serves_everyone(); ++next) {
      if (has_tried_ && is_out_of_time()) {
        return;
      }
      std::swap(order[done], order[next]);
      AssignmentState longer = state;
      const bool still_exact = fill(longer, order[done]) && exact;
      try_orders(order, done + 1, longer, still_exact);
    }
  }

  bool is_out_of_time() const {
    return options_.search.out_of_time && options_.search.out_of_time();
  }

  void keep_if_better(AssignmentState state, bool exact) {
    has_tried_ = true;
    has_guarantee_ = has_guarantee_ || exact;
    if (state.value() > best_.value() + 1e-12) {
      best_ = std::move(state);
    }
  }

  // The node takes its best set, by what each request is worth beyond what it is worth already. Returns whether the
  // search was exact.
  bool fill(AssignmentState& state, std::size_t e) {
    std::vector<double> taken(static_cast<std::size_t>(ways_.requests()));
    for (std::int32_t request = 0; request < ways_.requests(); ++request) {
      taken[static_cast<std::size_t>(request)] = state.value_of(request);
    }
    const Selection best = select_beyond(e, taken);
    for (const std::int32_t c : best.chosen) {
      state.add(e, c);
    }
    return best.is_optimal;
  }

  // The node's best set when each request counts for what it is worth beyond `floor`.
  Selection select_beyond(std::size_t e, std::span<const double> floor) {
    std::vector<Candidate> candidates = nodes_[e].candidates;
    for (Candidate& candidate : candidates) {
      candidate.value -= floor[static_cast<std::size_t>(candidate.request)];
    }
    Selection best = select_batch(candidates, *nodes_[e].cost, nodes_[e].capacity, options_.search);
    searched_ += best.nodes;
    return best;
  }

  // Lagrangian relaxation of "each request at most once": for any prices that are not negative, the prices and what
  // each node can make beyond them bound every assignment. A subgradient step raises the price of a request that
  // several nodes want and lowers that of one that none wants.
  double upper_bound(double known) {
    double best = round_down(all_served_);
    std::vector<double> prices(static_cast<std::size_t>(ways_.requests()));
    double stride = 1.0;
    for (int round = 0; round <= options_.bound_rounds && best > known * (1.0 + 1e-9); ++round) {
      if (round > 0 && options_.search.out_of_time && options_.search.out_of_time()) {
        break;
      }
      std::vector<double> gradient(prices.size(), 1.0);
      double bound = std::accumulate(prices.begin(), prices.end(), 0.0);
      for (std::size_t e = 0; e < nodes_.size(); ++e) {
        const Selection selection = select_beyond(e, prices);
        bound += selection.upper_bound;
        for (const std::int32_t c : selection.chosen) {
          gradient[static_cast<std::size_t>(ways_.candidate(e, c).request)] -= 1.0;
        }
      }
      stride = bound < best - 1e-9 ? stride : stride * 0.8;
      best = std::min(best, round_down(bound));
      step(prices, gradient, stride * std::max(0.0, bound - known));
    }
    return best;
  }

  // Where all values are alike, an assignment is worth a multiple of them.
  double round_down(double bound) const {
    const double unit = common_value();
    return unit > 0.0 ? unit * std::floor(bound / unit + 1e-7) : bound;
  }

  double common_value() const {
    double unit = 0.0;
    for (const NodeProblem& node : nodes_) {
      for (const Candidate& candidate : node.candidates) {
        if (unit != 0.0 && candidate.value != unit) {
          return 0.0;
        }
        unit = candidate.value;
      }
    }
    return unit;
  }

  static void step(std::vector<double>& prices, const std::vector<double>& gradient, double gap) {
    double norm = 0.0;
    for (std::size_t i = 0; i < prices.size(); ++i) {
      norm += prices[i] == 0.0 && gradient[i] > 0.0 ? 0.0 : gradient[i] * gradient[i];
    }
    for (std::size_t i = 0; i < prices.size() && norm > 0.0; ++i) {
      prices[i] = std::max(0.0, prices[i] - gap / norm * gradient[i]);
    }
  }

  std::span<const NodeProblem> nodes_;
  const AssignOptions& options_;
  Ways ways_;
  AssignmentState best_;
  double all_served_ = 0.0;
  bool has_guarantee_ = false;
  bool has_tried_ = false;  // one whole order
  std::int64_t searched_ = 0;
};

// Each request in turn: to nobody, or to each node in each way.
class ExhaustiveAssigner {
 public:
  explicit ExhaustiveAssigner(std::span<const NodeProblem> nodes) : ways_(nodes), state_(ways_) {}

  Assignment run() {
    best_.chosen = state_.chosen();
    extend(0, 0.0);
    best_.upper_bound = best_.greedy_value = best_.value;
    best_.has_guarantee = true;
    return best_;
  }

 private:
  void extend(std::int32_t request, double value) {
    ++best_.nodes;
    if (request == ways_.requests()) {
      if (value > best_.value) {
        best_.value = value;
        best_.chosen = state_.chosen();
      }
      return;
    }
    extend(request + 1, value);
    for (std::size_t e = 0; e < ways_.nodes().size(); ++e) {
      for (const std::int32_t way : ways_.of(e, request)) {
        if (state_.can_replace(e, -1, way)) {
          state_.add(e, way);
          extend(request + 1, value + ways_.candidate(e, way).value);
          state_.release(request);
        }
      }
    }
  }

  Ways ways_;
  AssignmentState state_;
  Assignment best_;
};

}  // namespace

Assignment assign(std::span<const NodeProblem> nodes, const AssignOptions& options) {
  return Assigner(nodes, options).run();
}

Assignment assign_exhaustively(std::span<const NodeProblem> nodes) {
  return ExhaustiveAssigner(nodes).run();
}

}  // namespace edgewise::schedule
