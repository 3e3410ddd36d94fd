#include "speculation/draft_odds.h"

#include <gtest/gtest.h>

#include <cmath>

namespace edgewise::speculation {
namespace {

using Tokens = std::vector<TokenId>;

TEST(DraftOdds, BelievesSomethingAtFirst) {
  const DraftOdds odds;
  const std::vector<double> chances = odds.chances(3);
  ASSERT_EQ(chances.size(), 3U);
  EXPECT_GT(chances[0], 0.5);
  EXPECT_NEAR(chances[2], std::pow(chances[0], 3), 1e-9);
  EXPECT_EQ(odds.chances(100).size(), DraftOdds::kPlaces);
  EXPECT_TRUE(odds.chances(0).empty());
}

TEST(DraftOdds, TenWrongGuessesAreEnough) {
  DraftOdds odds;
  for (int i = 0; i < 10; ++i) {
    odds.observe(Tokens{1}, Tokens{2});
  }
  EXPECT_LT(odds.chances(1)[0], 0.25);
}

TEST(DraftOdds, TellsPlacesApart) {
  DraftOdds odds;
  for (int i = 0; i < 100; ++i) {  // the third is always wrong, and nobody knows of the fourth
    odds.observe(Tokens{1, 2, 3, 4}, Tokens{1, 2, 9});
  }
  const std::vector<double> chances = odds.chances(4);
  EXPECT_GT(chances[1], 0.9);
  EXPECT_LT(chances[2], 0.15);
  EXPECT_LT(chances[3], 0.05);
}

// It was wrong long ago; since then it was not asked for so many.
TEST(DraftOdds, TriesAgainWhatWasNotTriedForLong) {
  DraftOdds odds;
  for (int i = 0; i < 50; ++i) {
    odds.observe(Tokens{1, 2}, Tokens{1, 3});
  }
  EXPECT_LT(odds.chances(2)[1], 0.2);
  for (int i = 0; i < 150; ++i) {
    odds.observe(Tokens{1}, Tokens{1});
  }
  EXPECT_GT(odds.chances(2)[1], 0.6);
}

TEST(DraftOdds, ATextBelievesTheOthersUntilItKnows) {
  DraftOdds all;
  for (int i = 0; i < 100; ++i) {
    all.observe(Tokens{1}, Tokens{1});
  }
  DraftOdds text(&all);
  EXPECT_DOUBLE_EQ(text.chances(1)[0], all.chances(1)[0]);
  for (int i = 0; i < 20; ++i) {
    text.observe(Tokens{1}, Tokens{2});
  }
  EXPECT_LT(text.chances(1)[0], 0.3);
}

// A guess that nobody knows the outcome of counts for nothing.
TEST(DraftOdds, TheEndOfATextTellsNothing) {
  DraftOdds odds;
  const double before = odds.chances(1)[0];
  odds.observe(Tokens{1, 2}, Tokens{});
  EXPECT_DOUBLE_EQ(odds.chances(1)[0], before);
}

}  // namespace
}  // namespace edgewise::speculation
