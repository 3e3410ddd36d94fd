#include "speculation/draft_plan.h"

#include <algorithm>
#include <optional>

namespace edgewise::speculation {
namespace {

// What a further row is taken to cost at least, in plain steps: costs are known to some percent, and
// guesses that are hardly ever right win less than that.
constexpr double kLeastRow = 0.1;

// The draft model's steps, one for each place, as guesses are added to them.
class Guessing {
 public:
  explicit Guessing(const steps::StepTimes& times) : times_(times) {}

  void add(const DraftOffer& offer, std::size_t place) {
    if (place >= steps_.size()) {
      steps_.resize(place + 1);
    }
    steps::StepShape& step = steps_[place];
    seconds_ -= step.rows > 0 ? times_.seconds(step) : 0.0;
    const std::int64_t rows = place == 0 ? offer.missing : 1;
    step.add(rows, offer.position + static_cast<std::int64_t>(place) - rows, /*draws=*/true);
    seconds_ += times_.seconds(step);
  }

  double seconds() const { return seconds_; }

 private:
  const steps::StepTimes& times_;
  std::vector<steps::StepShape> steps_;
  double seconds_ = 0.0;
};

}  // namespace

DraftPlan plan_drafts(std::span<const DraftOffer> offers,
                      const steps::StepShape& step,
                      std::int64_t tokens,
                      const DraftLimits& limits,
                      const steps::StepTimes& target,
                      const steps::StepTimes* draft_model) {
  std::vector<std::int64_t> taken(offers.size(), 0);
  steps::StepShape shape = step;
  std::optional<Guessing> guessing;
  if (draft_model != nullptr) {
    guessing.emplace(*draft_model);
  }
  const double plain = target.seconds(step);
  DraftPlan best{taken, static_cast<double>(tokens), plain};
  double expected = best.tokens;
  // Of each offer's text; who has none gets one token.
  std::vector<double> own(offers.size(), 1.0);
  const bool all_have_offers = tokens == std::ssize(offers) && step.rows == tokens;
  while (shape.rows < steps::FewRowsCost::kMostRows) {
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
    if (!likeliest->is_computed) {
      guessing->add(*likeliest, static_cast<std::size_t>(count));
    }
    shape.add(1, likeliest->position + count, /*draws=*/true);
    ++count;
    own[static_cast<std::size_t>(likeliest - offers.data())] += chance;
    expected += chance;
    const auto drafted = static_cast<double>(shape.rows - step.rows);
    const double seconds = std::max(target.seconds(shape), plain * (1.0 + kLeastRow * drafted)) +
                           (guessing.has_value() ? guessing->seconds() : 0.0);
    const double least = all_have_offers ? *std::min_element(own.begin(), own.end()) : 1.0;
    if (seconds <= limits.seconds && seconds <= limits.slowdown * plain * least &&
        expected / seconds > best.rate()) {
      best = {taken, expected, seconds};
    }
  }
  return best;
}

}  // namespace edgewise::speculation
