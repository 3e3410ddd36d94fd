// How often a draft model's guesses are right, by place in the draft: the first, the second behind a
// right first, and so on. One of all texts, and one of each text that believes the former until it
// has seen enough itself. One thread.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <vector>

#include "base/ids.h"

namespace edgewise::speculation {

class DraftOdds {
 public:
  static constexpr std::size_t kPlaces = 15;  // more guesses than a step has rows for

  // `all`: what is believed where nothing was seen; it must outlive this. Null: this is of all.
  explicit DraftOdds(const DraftOdds* all = nullptr) : all_(all) {}

  // `drawn` is how the text went on behind where the guesses begin, as far as that is known.
  void observe(std::span<const TokenId> guesses, std::span<const TokenId> drawn);

  // [most, at most kPlaces] the chance that the first i + 1 guesses are all right.
  std::vector<double> chances(std::int64_t most) const;

 private:
  struct Odds {
    double right = 0.0, seen = 0.0;
  };

  double chance(std::size_t place) const;  // behind right ones

  const DraftOdds* all_;
  std::array<Odds, kPlaces> odds_ = {};
};

}  // namespace edgewise::speculation
