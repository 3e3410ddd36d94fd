#include "schedule/knapsack_bound.h"

#include <algorithm>
#include <cmath>
#include <numeric>

namespace edgewise::schedule {
namespace {

constexpr int kRounds = 12;      // of improving the weights
constexpr double kStride = 1.5;  // of the first round

}  // namespace

KnapsackBound::KnapsackBound(std::span<const double> values,
                             std::span<const double> needs,
                             std::size_t rows) {
  // Multiplicative weights: a limit that the fractional solution overdraws counts for more in the next round.
  std::vector<double> weights(rows, rows > 0 ? 1.0 / static_cast<double>(rows) : 0.0);
  std::vector<double> best_weights = weights;
  double best = INFINITY;
  for (int round = 0; round < (rows > 1 ? kRounds : 1); ++round) {
    arrange(values, needs, weights);
    if (const double bound = most(0, 1.0); bound < best) {
      best = bound;
      best_weights = weights;
    }
    const std::vector<double> use = fractional_use(needs, rows);
    double total = 0.0;
    for (std::size_t r = 0; r < rows; ++r) {
      const double excess = std::clamp(use[r] - 1.0, -1.0, 1.0);
      weights[r] = std::max(1e-6, weights[r]) * std::exp(kStride / (1.0 + round / 3.0) * excess);
      total += weights[r];
    }
    for (double& weight : weights) {
      weight /= total;
    }
  }
  arrange(values, needs, best_weights);
}

void KnapsackBound::arrange(std::span<const double> values,
                            std::span<const double> needs,
                            std::span<const double> weights) {
  const std::size_t rows = weights.size();
  std::vector<double> weighted(values.size());
  std::vector<double> cost_of_value(values.size());
  for (std::size_t i = 0; i < values.size(); ++i) {
    for (std::size_t r = 0; r < rows; ++r) {
      weighted[i] += weights[r] * needs[i * rows + r];
    }
    cost_of_value[i] = weighted[i] / values[i];
  }
  order_.resize(values.size());
  std::iota(order_.begin(), order_.end(), 0);
  std::sort(order_.begin(), order_.end(), [&](std::int32_t a, std::int32_t b) {
    const double x = cost_of_value[static_cast<std::size_t>(a)];
    const double y = cost_of_value[static_cast<std::size_t>(b)];
    return x != y ? x < y : a < b;
  });
  prefix_need_.assign(values.size() + 1, 0.0);
  prefix_value_.assign(values.size() + 1, 0.0);
  for (std::size_t k = 0; k < order_.size(); ++k) {
    const auto i = static_cast<std::size_t>(order_[k]);
    prefix_need_[k + 1] = prefix_need_[k] + weighted[i];
    prefix_value_[k + 1] = prefix_value_[k] + values[i];
  }
}

double KnapsackBound::most(std::size_t place, double left) const {
  // The first item that does not fit whole.
  const auto first = prefix_need_.begin() + static_cast<std::ptrdiff_t>(place);
  const auto over = std::upper_bound(first, prefix_need_.end(), *first + left + 1e-9);
  const auto cut = static_cast<std::size_t>(over - prefix_need_.begin()) - 1;
  double value = prefix_value_[cut] - prefix_value_[place];
  if (cut < order_.size()) {
    const double part = (left - (prefix_need_[cut] - *first)) / need(cut);
    value += std::clamp(part, 0.0, 1.0) * (prefix_value_[cut + 1] - prefix_value_[cut]);
  }
  return value;
}

std::vector<double> KnapsackBound::fractional_use(std::span<const double> needs,
                                                  std::size_t rows) const {
  std::vector<double> use(rows);
  for (std::size_t k = 0; k < order_.size() && prefix_need_[k] < 1.0; ++k) {
    const double own = need(k);
    const double part = own > 0.0 ? std::min(1.0, (1.0 - prefix_need_[k]) / own) : 1.0;
    for (std::size_t r = 0; r < rows; ++r) {
      use[r] += part * needs[static_cast<std::size_t>(order_[k]) * rows + r];
    }
  }
  return use;
}

}  // namespace edgewise::schedule
