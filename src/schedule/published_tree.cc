#include "schedule/published_tree.h"

#include <algorithm>
#include <map>
#include <numeric>
#include <utility>

namespace edgewise::schedule {
namespace {

// Requests that cost the same time and memory, least bandwidth first.
struct Class {
  double seconds = 0.0;
  double memory_bytes = 0.0;
  std::vector<std::int32_t> members;
};

std::vector<std::int32_t> by_slack(std::span<const Candidate> candidates, const FlopCost& cost) {
  std::vector<std::int32_t> order(candidates.size());
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(), [&](std::int32_t a, std::int32_t b) {
    return cost.slack(candidates[static_cast<std::size_t>(a)]) >
           cost.slack(candidates[static_cast<std::size_t>(b)]);
  });
  return order;
}

// Classes of the candidates `which`, shortest first.
std::vector<Class> make_classes(std::span<const Candidate> candidates,
                                std::span<const std::int32_t> which,
                                const FlopCost& cost) {
  std::map<std::pair<double, double>, Class> classes;
  for (const std::int32_t i : which) {
    const Candidate& candidate = candidates[static_cast<std::size_t>(i)];
    const double seconds = cost.seconds(candidate);
    Class& its = classes[{seconds, candidate.memory_bytes}];
    its.seconds = seconds;
    its.memory_bytes = candidate.memory_bytes;
    its.members.push_back(i);
  }
  std::vector<Class> sorted;
  for (auto& [key, its] : classes) {
    std::stable_sort(its.members.begin(), its.members.end(), [&](std::int32_t a, std::int32_t b) {
      const Candidate& x = candidates[static_cast<std::size_t>(a)];
      const Candidate& y = candidates[static_cast<std::size_t>(b)];
      return x.uplink + x.downlink < y.uplink + y.downlink;
    });
    sorted.push_back(std::move(its));
  }
  return sorted;
}

struct Sums {
  double seconds = 0.0;
  double memory_bytes = 0.0;
  double uplink = 0.0;
  double downlink = 0.0;

  void add(const Class& its, const Candidate& candidate) {
    seconds += its.seconds;
    memory_bytes += its.memory_bytes;
    uplink += candidate.uplink;
    downlink += candidate.downlink;
  }
};

// All sets of one size that hold one given most urgent request.
class Tree {
 public:
  Tree(std::span<const Candidate> candidates,
       std::vector<Class> classes,
       double slack,
       const Capacity& capacity)
      : candidates_(candidates),
        classes_(std::move(classes)),
        slack_(slack),
        capacity_(capacity),
        taken_(classes_.size()) {
    room_behind_.resize(classes_.size() + 1);
    for (std::size_t k = classes_.size(); k-- > 0;) {
      room_behind_[k] = room_behind_[k + 1] + std::ssize(classes_[k].members);
    }
  }

  bool find(const Sums& pivot, std::int64_t size) { return descend(0, pivot, size); }

  std::vector<std::int32_t> members() const {
    std::vector<std::int32_t> all;
    for (std::size_t k = 0; k < classes_.size(); ++k) {
      all.insert(all.end(), classes_[k].members.begin(), classes_[k].members.begin() + taken_[k]);
    }
    return all;
  }

  std::int64_t nodes() const { return nodes_; }

 private:
  bool descend(std::size_t k, const Sums& sums, std::int64_t need) {
    ++nodes_;
    if (need == 0) {
      return true;  // every limit was kept on the way
    }
    if (k == classes_.size()) {
      return false;
    }
    const std::int64_t most = std::min(need, std::ssize(classes_[k].members));
    const std::int64_t least = std::max<std::int64_t>(0, need - room_behind_[k + 1]);
    std::vector<Sums> with(static_cast<std::size_t>(most) + 1, sums);
    for (std::size_t v = 1; v < with.size(); ++v) {
      with[v] = with[v - 1];
      with[v].add(classes_[k], candidates_[static_cast<std::size_t>(classes_[k].members[v - 1])]);
    }
    for (std::int64_t v = most; v >= least; --v) {
      taken_[k] = v;
      const Sums& partial = with[static_cast<std::size_t>(v)];
      if (is_within(partial) && can_complete(k + 1, partial, need - v) &&
          descend(k + 1, partial, need - v)) {
        return true;
      }
    }
    taken_[k] = 0;
    return false;
  }

  bool is_within(const Sums& sums) const {
    return within(sums.seconds, slack_) && within(sums.memory_bytes, capacity_.memory_bytes) &&
           within(sums.uplink, capacity_.uplink) && within(sums.downlink, capacity_.downlink);
  }

  // Even with the shortest and the smallest of what is left.
  bool can_complete(std::size_t k, Sums sums, std::int64_t need) const {
    double least_memory = kNever;
    for (std::size_t rest = k; rest < classes_.size(); ++rest) {
      least_memory = std::min(least_memory, classes_[rest].memory_bytes);
    }
    if (need > 0) {
      sums.memory_bytes += static_cast<double>(need) * least_memory;
    }
    for (; k < classes_.size() && need > 0; ++k) {
      const std::int64_t some = std::min(need, std::ssize(classes_[k].members));
      sums.seconds += static_cast<double>(some) * classes_[k].seconds;
      need -= some;
    }
    return within(sums.seconds, slack_) && within(sums.memory_bytes, capacity_.memory_bytes);
  }

  std::span<const Candidate> candidates_;
  std::vector<Class> classes_;
  double slack_;
  const Capacity& capacity_;
  std::vector<std::int64_t> taken_;        // of each class
  std::vector<std::int64_t> room_behind_;  // members of the classes from k on
  std::int64_t nodes_ = 0;
};

// Sum of the `count` least of the needs of the first candidates in `order`, the last of them for certain.
double least_seconds(std::span<const Candidate> candidates,
                     std::span<const std::int32_t> before,
                     double own,
                     std::int64_t others,
                     const FlopCost& cost) {
  std::vector<double> seconds;
  for (const std::int32_t i : before) {
    seconds.push_back(cost.seconds(candidates[static_cast<std::size_t>(i)]));
  }
  std::nth_element(seconds.begin(), seconds.begin() + others, seconds.end());
  return std::accumulate(seconds.begin(), seconds.begin() + others, own);
}

}  // namespace

PublishedResult select_by_published_tree(std::span<const Candidate> candidates,
                                         const FlopCost& cost,
                                         const Capacity& capacity) {
  const std::vector<std::int32_t> order = by_slack(candidates, cost);
  PublishedResult result;
  for (std::int64_t size = std::ssize(order); size > 0; --size) {
    for (std::int64_t d = size; d <= std::ssize(order); ++d) {
      const auto before = std::span(order).first(static_cast<std::size_t>(d) - 1);
      const Candidate& pivot =
          candidates[static_cast<std::size_t>(order[static_cast<std::size_t>(d) - 1])];
      const double slack = cost.slack(pivot);
      const double own = cost.seconds(pivot);
      ++result.nodes;
      if (!within(least_seconds(candidates, before, own, size - 1, cost), slack)) {
        continue;
      }
      Tree tree(candidates, make_classes(candidates, before, cost), slack, capacity);
      const Sums start{own, pivot.memory_bytes, pivot.uplink, pivot.downlink};
      const bool found = fits({&pivot, 1}, capacity) && tree.find(start, size - 1);
      result.nodes += tree.nodes();
      if (found) {
        result.chosen = tree.members();
        result.chosen.push_back(order[static_cast<std::size_t>(d) - 1]);
        std::sort(result.chosen.begin(), result.chosen.end());
        return result;
      }
    }
  }
  return result;
}

double nodes_without_pruning(std::span<const Candidate> candidates,
                             const FlopCost& cost,
                             std::int64_t answer_size) {
  const std::vector<std::int32_t> order = by_slack(candidates, cost);
  double total = 0.0;
  for (std::int64_t d = answer_size + 1; d <= std::ssize(order); ++d) {
    const std::vector<Class> classes =
        make_classes(candidates, std::span(order).first(static_cast<std::size_t>(d) - 1), cost);
    // nodes[need] of the subtree below class k, from the last class to the first
    std::vector<double> nodes(static_cast<std::size_t>(d), 1.0);
    for (std::size_t k = classes.size(); k-- > 0;) {
      std::vector<double> above(nodes.size(), 1.0);
      for (std::size_t need = 1; need < nodes.size(); ++need) {
        const std::size_t most = std::min(need, classes[k].members.size());
        for (std::size_t v = 0; v <= most; ++v) {
          above[need] += nodes[need - v];
        }
      }
      nodes = std::move(above);
    }
    for (std::int64_t size = answer_size + 1; size <= d; ++size) {
      total += 1.0 + nodes[static_cast<std::size_t>(size) - 1];
    }
  }
  return total;
}

}  // namespace edgewise::schedule
