#include "engine/draft_plan.h"

#include <algorithm>
#include <cmath>

namespace edgewise::engine {
namespace {

constexpr double kForget = 0.95;       // a number of rows remembers its last 20 steps
constexpr double kBeliefWeight = 1.0;  // of StepCost's own word, in steps
// What a further row is taken to cost at least, in plain steps: costs are known to some percent, and
// guesses that are hardly ever right win less than that.
constexpr double kLeastRow = 0.1;
constexpr double kMostSurprise = 0.7;  // a factor of 2; beyond it somebody else had the machine

}  // namespace

void FewRowsCost::observe(const StepShape& shape, double seconds, const StepCost& cost) {
  if (shape.rows < 1 || shape.rows > kMostRows || !(seconds > 0.0)) {
    return;
  }
  const double surprise = std::log(seconds / std::max(cost.seconds(shape), 1e-12));
  Correction& correction = corrections_[static_cast<std::size_t>(shape.rows)];
  correction.log_factor =
      kForget * correction.log_factor + std::clamp(surprise, -kMostSurprise, kMostSurprise);
  correction.weight = kForget * correction.weight + 1.0;
}

double FewRowsCost::seconds(const StepShape& shape, const StepCost& cost) const {
  const Correction& correction =
      corrections_[static_cast<std::size_t>(std::min(shape.rows, kMostRows))];
  return cost.seconds(shape) *
         std::exp(correction.log_factor / (correction.weight + kBeliefWeight));
}

std::vector<std::int64_t> plan_drafts(std::span<const DraftOffer> offers,
                                      const StepShape& step,
                                      std::int64_t tokens,
                                      double limit,
                                      const StepCost& cost,
                                      const FewRowsCost& few_rows) {
  std::vector<std::int64_t> taken(offers.size(), 0);
  std::vector<std::int64_t> best = taken;
  StepShape shape = step;
  auto expected = static_cast<double>(tokens);
  const double plain = few_rows.seconds(step, cost);
  double best_rate = expected / plain;
  while (shape.rows < FewRowsCost::kMostRows) {
    const DraftOffer* likeliest = nullptr;
    double chance = 0.0;
    for (std::size_t i = 0; i < offers.size(); ++i) {
      const auto next = static_cast<std::size_t>(taken[i]);
      if (next < offers[i].chances.size() && offers[i].chances[next] > chance) {
        likeliest = &offers[i];
        chance = offers[i].chances[next];
      }
    }
    if (likeliest == nullptr) {
      break;
    }
    std::int64_t& count = taken[static_cast<std::size_t>(likeliest - offers.data())];
    shape.add(1, likeliest->position + count, /*draws=*/true);
    ++count;
    expected += chance;
    const auto drafted = static_cast<double>(shape.rows - step.rows);
    const double seconds =
        std::max(few_rows.seconds(shape, cost), plain * (1.0 + kLeastRow * drafted));
    if (seconds <= limit && expected / seconds > best_rate) {
      best_rate = expected / seconds;
      best = taken;
    }
  }
  return best;
}

}  // namespace edgewise::engine
