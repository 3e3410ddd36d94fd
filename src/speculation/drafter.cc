#include "speculation/drafter.h"

#include <algorithm>
#include <bit>
#include <utility>

namespace edgewise::speculation {
namespace {

constexpr int kTokenBits = 21;  // three tokens make a key
constexpr double kForget = 0.97;

// What to believe before guesses were counted, and how many counted ones outweigh it. By rung. Short
// occurrences are mostly chance; believing too little of them costs nothing but a few guesses.
constexpr std::array<double, 7> kBelief = {0.1, 0.1, 0.2, 0.5, 0.8, 0.9, 0.95};
constexpr double kBeliefWeight = 4.0;

std::uint64_t triple(std::span<const TokenId> tokens) {
  std::uint64_t key = 0;
  for (const TokenId token : tokens.last(static_cast<std::size_t>(Drafter::kShortest))) {
    key = (key << kTokenBits) | static_cast<std::uint64_t>(token);
  }
  return key;
}

// Tokens that both endings have in common, at most `most`.
std::int64_t common_ending(std::span<const TokenId> a,
                           std::span<const TokenId> b,
                           std::int64_t most) {
  const std::size_t limit = std::min({a.size(), b.size(), static_cast<std::size_t>(most)});
  std::size_t length = 0;
  while (length < limit && a[a.size() - 1 - length] == b[b.size() - 1 - length]) {
    ++length;
  }
  return static_cast<std::int64_t>(length);
}

}  // namespace

// Lengths 0, 1 to 2, 3, 4 to 7, 8 to 15, 16 to 31, more.
std::size_t Drafter::rung(std::int64_t length) {
  if (length <= kShortest) {
    return length == 0 ? 0 : length < kShortest ? 1 : 2;
  }
  return std::min<std::size_t>(
      static_cast<std::size_t>(std::bit_width(static_cast<std::uint64_t>(length))), kRungs - 1);
}

double Drafter::chance(std::int64_t length) const {
  const std::size_t at = rung(length);
  return (odds_[at].right + kBeliefWeight * kBelief[at]) / (odds_[at].seen + kBeliefWeight);
}

void Drafter::follow(std::span<const TokenId> tokens) {
  while (previous_.size() < tokens.size()) {
    const auto now = tokens.first(previous_.size() + 1);
    check_guess(now.back(), now.first(now.size() - 1));
    index(now);
    if (length_ < kShortest) {
      look_back(now);
    }
  }
}

void Drafter::check_guess(TokenId token, std::span<const TokenId> before) {
  if (!source_.has_value()) {
    return;
  }
  const bool is_right = before[*source_] == token;
  if (counts_) {
    Odds& odds = odds_[rung(length_)];
    odds.right = kForget * odds.right + (is_right ? 1.0 : 0.0);
    odds.seen = kForget * odds.seen + 1.0;
  }
  length_ = is_right ? length_ + 1 : 0;
  ++*source_;
}

void Drafter::index(std::span<const TokenId> tokens) {
  const auto end = static_cast<std::int32_t>(tokens.size() - 1);
  std::int32_t before = -1;
  if (std::ssize(tokens) >= kShortest) {
    const auto [entry, is_new] = latest_.try_emplace(triple(tokens), end);
    before = is_new ? -1 : std::exchange(entry->second, end);
  }
  previous_.push_back(before);
}

// The longest of the latest occurrences of the last three tokens, of equally long ones the latest.
void Drafter::look_back(std::span<const TokenId> tokens) {
  std::int32_t end = previous_.back();
  std::int64_t longest = 0;
  for (std::int64_t i = 0; i < kCompared && end >= 0; ++i) {
    const auto next = static_cast<std::size_t>(end) + 1;
    const std::int64_t length = common_ending(tokens.first(next), tokens, kLongest);
    if (length > longest) {
      longest = length;
      length_ = length;
      source_ = next;
    }
    end = previous_[static_cast<std::size_t>(end)];
  }
}

std::vector<TokenId> Drafter::draft(std::span<const TokenId> tokens, std::int64_t most) const {
  std::vector<TokenId> draft;
  if (!source_.has_value()) {
    return draft;
  }
  // An occurrence that overlaps the ending repeats itself.
  for (std::size_t from = *source_; std::ssize(draft) < most; ++from) {
    draft.push_back(from < tokens.size() ? tokens[from] : draft[from - tokens.size()]);
  }
  return draft;
}

std::vector<double> Drafter::chances(std::int64_t most) const {
  std::vector<double> chances;
  double all = 1.0;
  for (std::int64_t i = 0; source_.has_value() && i < most; ++i) {
    all *= chance(length_ + i);
    chances.push_back(all);
  }
  return chances;
}

}  // namespace edgewise::speculation
