// Upper bounds for the pivots of select_batch: the fractional knapsack over one weighted sum of several limits.
//
// Needs are fractions of what is left of each limit. For any weights that are not negative, a set that keeps every
// limit keeps the weighted sum (surrogate relaxation); filling that sum by value per need, the last in part, is
// worth at least as much as any such set (Dantzig).
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace edgewise::schedule {

class KnapsackBound {
 public:
  static constexpr std::size_t kMaxRows = 7;

  // needs[i * rows + r]: item i's share of limit r; values positive. Chooses the weights, then orders the items.
  KnapsackBound(std::span<const double> values, std::span<const double> needs, std::size_t rows);

  // Items in the order in which they fill the knapsack.
  std::span<const std::int32_t> order() const { return order_; }

  // The weighted need of the item at a place of the order.
  double need(std::size_t place) const { return prefix_need_[place + 1] - prefix_need_[place]; }

  // Most value that the items from `place` on can add when `left` of the weighted sum is left.
  double most(std::size_t place, double left) const;

 private:
  void arrange(std::span<const double> values,
               std::span<const double> needs,
               std::span<const double> weights);
  std::vector<double> fractional_use(std::span<const double> needs, std::size_t rows) const;

  std::vector<std::int32_t> order_;
  std::vector<double> prefix_need_;  // of the first k in order
  std::vector<double> prefix_value_;
};

}  // namespace edgewise::schedule
