#include "reuse/common_runs.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <algorithm>
#include <chrono>
#include <random>

namespace edgewise::reuse {
namespace {

using Tokens = std::vector<TokenId>;

std::vector<CommonRun> runs_of(const Tokens& text,
                               const std::vector<Tokens>& known,
                               std::int64_t shortest = kShortestRun,
                               std::int64_t first = 0) {
  const std::vector<std::span<const TokenId>> sources(known.begin(), known.end());
  return find_common_runs(text, first, sources, shortest);
}

Tokens random_text(std::mt19937& rng, std::size_t length, int alphabet) {
  Tokens text(length);
  std::ranges::generate(
      text, [&] { return static_cast<TokenId>(rng() % static_cast<unsigned>(alphabet)); });
  return text;
}

Tokens joined(std::initializer_list<Tokens> parts) {
  Tokens all;
  for (const Tokens& part : parts) {
    all.insert(all.end(), part.begin(), part.end());
  }
  return all;
}

// The longest run that any text has in common with text[first, end) where nothing is taken, by trying all pairs.
std::int64_t longest_by_trying(const Tokens& text,
                               const std::vector<Tokens>& known,
                               const std::vector<bool>& taken,
                               std::size_t first) {
  std::int64_t longest = 0;
  for (const Tokens& source : known) {
    for (std::size_t i = first; i < text.size(); ++i) {
      for (std::size_t j = 0; j < source.size(); ++j) {
        std::size_t n = 0;
        while (i + n < text.size() && j + n < source.size() && text[i + n] == source[j + n] &&
               !taken[i + n]) {
          ++n;
        }
        longest = std::max(longest, static_cast<std::int64_t>(n));
      }
    }
  }
  return longest;
}

TEST(CommonRuns, AnInsertedLineShiftsTheRest) {
  std::mt19937 rng(1);
  const Tokens head = random_text(rng, 20, 1000);
  const Tokens rest = random_text(rng, 300, 1000);
  const Tokens known = joined({head, {1, 2, 3}, rest});
  const Tokens text = joined({head, {4, 5, 6, 7, 8}, rest});
  EXPECT_EQ(runs_of(text, {known}, 64, 20),
            (std::vector<CommonRun>{{.begin = 25, .length = 300, .source = 0, .from = 23}}));
}

TEST(CommonRuns, TwoChangedPlacesLeaveTwoRuns) {
  std::mt19937 rng(2);
  const Tokens a = random_text(rng, 100, 1000);
  const Tokens b = random_text(rng, 200, 1000);
  EXPECT_EQ(runs_of(joined({{9}, a, {7, 7}, b}), {joined({{8}, a, {6}, b})}),
            (std::vector<CommonRun>{{1, 100, 0, 1}, {103, 200, 0, 102}}));
}

TEST(CommonRuns, PartsOfSeveralTextsInAnotherOrder) {
  std::mt19937 rng(3);
  const Tokens a = random_text(rng, 100, 1000);
  const Tokens b = random_text(rng, 120, 1000);
  const Tokens c = random_text(rng, 140, 1000);
  EXPECT_EQ(runs_of(joined({c, b, a}), {joined({a, {1}, b}), c}),
            (std::vector<CommonRun>{{0, 140, 1, 0}, {140, 120, 0, 101}, {260, 100, 0, 0}}));
}

TEST(CommonRuns, OfEquallyLongOnesTheOneThatStaysWhereItIs) {
  std::mt19937 rng(4);
  const Tokens part = random_text(rng, 80, 1000);
  const Tokens known = joined({part, random_text(rng, 20, 1000), part});
  const Tokens text = joined({random_text(rng, 100, 1000), part});
  EXPECT_EQ(runs_of(text, {known}), (std::vector<CommonRun>{{100, 80, 0, 100}}));
}

TEST(CommonRuns, NothingToFind) {
  std::mt19937 rng(5);
  EXPECT_TRUE(runs_of({}, {}).empty());
  EXPECT_TRUE(runs_of(random_text(rng, 100, 1000), {}).empty());
  EXPECT_TRUE(runs_of(random_text(rng, 15, 1000), {Tokens(10, 1), {}}).empty());
  EXPECT_TRUE(runs_of(random_text(rng, 500, 1000), {random_text(rng, 500, 1000)}).empty());
}

// Texts of few different tokens and of copied parts, so that there are runs of all lengths.
struct Texts {
  Tokens text;
  std::vector<Tokens> known;
};

Texts texts_of(unsigned seed) {
  std::mt19937 rng(seed);
  const int alphabet = rng() % 2 == 0 ? 2 : 50;
  Texts texts;
  for (unsigned k = 0; k <= rng() % 3; ++k) {
    texts.known.push_back(random_text(rng, 30 + rng() % 200, alphabet));
  }
  while (texts.text.size() < 200) {
    const Tokens& source = texts.known[rng() % texts.known.size()];
    const std::size_t from = rng() % source.size();
    const std::size_t length = std::min<std::size_t>(rng() % 120, source.size() - from);
    texts.text.insert(texts.text.end(), source.begin() + static_cast<std::ptrdiff_t>(from),
                      source.begin() + static_cast<std::ptrdiff_t>(from + length));
    const Tokens between = random_text(rng, rng() % 4, alphabet);
    texts.text.insert(texts.text.end(), between.begin(), between.end());
  }
  return texts;
}

RC_GTEST_PROP(CommonRunsProperty, AreTheLongestThatTryingAllPairsFinds, (unsigned seed)) {
  const auto [text, known] = texts_of(seed);
  const std::size_t first = seed % 20;
  const auto runs = runs_of(text, known, kShortestRun, static_cast<std::int64_t>(first));
  std::vector<bool> taken(text.size(), false);
  std::vector<CommonRun> longest_first = runs;
  std::ranges::stable_sort(longest_first, std::greater<>(), &CommonRun::length);
  std::int64_t at = static_cast<std::int64_t>(first);
  for (const CommonRun& run : runs) {
    RC_ASSERT(run.begin >= at);
    at = run.end();
    for (std::int64_t i = 0; i < run.length; ++i) {
      RC_ASSERT(text[static_cast<std::size_t>(run.begin + i)] ==
                known[run.source][static_cast<std::size_t>(run.from + i)]);
    }
  }
  for (const CommonRun& run : longest_first) {
    RC_ASSERT(run.length == longest_by_trying(text, known, taken, first));
    std::fill_n(taken.begin() + run.begin, run.length, true);
  }
  RC_ASSERT(runs.size() == kMostRuns ||
            longest_by_trying(text, known, taken, first) < kShortestRun);
}

// One token for ever makes a run of each pair of positions.
TEST(CommonRuns, RepetitionIsCutShort) {
  const Tokens same(16000, 1);
  const auto begin = std::chrono::steady_clock::now();
  const auto runs = runs_of(same, {same, same});
  EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::seconds(1));
  EXPECT_EQ(runs, (std::vector<CommonRun>{{0, 16000, 0, 0}}));
}

}  // namespace
}  // namespace edgewise::reuse
