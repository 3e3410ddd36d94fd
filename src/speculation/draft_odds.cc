#include "speculation/draft_odds.h"

#include <algorithm>

namespace edgewise::speculation {
namespace {

constexpr double kForget = 0.97;  // the last 30 drafts
// Of a draft model that nothing is known of, so that it is tried; wrong ones outweigh it soon.
constexpr double kBelief = 0.7;
constexpr double kBeliefWeight = 4.0;

}  // namespace

void DraftOdds::observe(std::span<const TokenId> guesses, std::span<const TokenId> drawn) {
  const std::size_t known = std::min({guesses.size(), drawn.size(), kPlaces});
  if (known == 0) {
    return;
  }
  for (Odds& odds : odds_) {  // those that are not reached too: what is long ago is tried again
    odds.right *= kForget;
    odds.seen *= kForget;
  }
  for (std::size_t i = 0; i < known; ++i) {
    const bool is_right = guesses[i] == drawn[i];
    odds_[i].right += is_right ? 1.0 : 0.0;
    odds_[i].seen += 1.0;
    if (!is_right) {
      return;
    }
  }
}

double DraftOdds::chance(std::size_t place) const {
  double belief = kBelief;
  if (all_ != nullptr) {
    belief = all_->chance(place);
  } else if (place > 0) {
    belief = chance(place - 1);
  }
  return (odds_[place].right + kBeliefWeight * belief) / (odds_[place].seen + kBeliefWeight);
}

std::vector<double> DraftOdds::chances(std::int64_t most) const {
  std::vector<double> chances;
  double all_right = 1.0;
  for (std::size_t i = 0; i < kPlaces && static_cast<std::int64_t>(i) < most; ++i) {
    all_right *= chance(i);
    chances.push_back(all_right);
  }
  return chances;
}

}  // namespace edgewise::speculation
