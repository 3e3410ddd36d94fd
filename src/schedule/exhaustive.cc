#include "schedule/exhaustive.h"

namespace edgewise::schedule {
namespace {

class Exhaustive {
 public:
  Exhaustive(std::span<const Candidate> candidates,
             const CostModel& cost,
             const Capacity& capacity,
             std::int64_t max_nodes)
      : candidates_(candidates), cost_(cost), capacity_(capacity), max_nodes_(max_nodes) {}

  Selection run() {
    extend(0);
    best_.nodes = nodes_;
    best_.is_optimal = nodes_ < max_nodes_;
    best_.upper_bound = best_.is_optimal ? best_.value : kNever;
    return best_;
  }

 private:
  void extend(std::size_t from) {
    for (std::size_t i = from; i < candidates_.size() && nodes_ < max_nodes_; ++i) {
      ++nodes_;
      set_.push_back(candidates_[i]);
      chosen_.push_back(static_cast<std::int32_t>(i));
      if (is_feasible(set_, cost_, capacity_, times_)) {
        value_.push_back((value_.empty() ? 0.0 : value_.back()) + candidates_[i].value);
        if (value_.back() > best_.value) {
          best_.value = value_.back();
          best_.chosen = chosen_;
        }
        extend(i + 1);
        value_.pop_back();
      }
      set_.pop_back();
      chosen_.pop_back();
    }
  }

  std::span<const Candidate> candidates_;
  const CostModel& cost_;
  const Capacity& capacity_;
  std::int64_t max_nodes_;
  std::int64_t nodes_ = 0;
  std::vector<Candidate> set_;
  std::vector<std::int32_t> chosen_;
  std::vector<double> value_;
  FinishTimes times_;
  Selection best_;
};

}  // namespace

Selection select_exhaustively(std::span<const Candidate> candidates,
                              const CostModel& cost,
                              const Capacity& capacity,
                              std::int64_t max_nodes) {
  return Exhaustive(candidates, cost, capacity, max_nodes).run();
}

}  // namespace edgewise::schedule
