#include "admission/answer_length.h"

#include <gtest/gtest.h>

namespace edgewise::admission {
namespace {

TEST(AnswerLength, IsTheLimitOrAGuessBeforeAnythingIsKnown) {
  const AnswerLength lengths;
  EXPECT_EQ(lengths.remaining(0, 20), 20);
  EXPECT_EQ(lengths.remaining(19, 20), 1);
  EXPECT_EQ(lengths.remaining(0, 8000), 256);
  EXPECT_EQ(lengths.least_remaining(0, 8000), 1);
}

TEST(AnswerLength, IsAHighQuantileOfWhatWasSeen) {
  AnswerLength lengths;
  for (int i = 1; i <= 101; ++i) {
    lengths.observe(i, false);
  }
  EXPECT_EQ(lengths.remaining(0, 1000), 81);
  EXPECT_EQ(lengths.remaining(0, 50), 50);
  EXPECT_EQ(lengths.least_remaining(0, 1000), 21);
  EXPECT_EQ(lengths.remaining(51, 1000), 90 - 51 + 1);  // 50 of them are longer: 52 to 101
  EXPECT_EQ(lengths.remaining(100, 150), 50);           // only one is: not enough to say
}

TEST(AnswerLength, FollowsTheWorkload) {
  AnswerLength lengths;
  for (int i = 0; i < 1000; ++i) {
    lengths.observe(500, false);
  }
  for (int i = 0; i < 256; ++i) {
    lengths.observe(10, false);
  }
  EXPECT_EQ(lengths.remaining(0, 1000), 10);
}

// Four in five have a small limit: they say nothing of how long the others get.
TEST(AnswerLength, CutAnswersAreNotTakenForShortOnes) {
  AnswerLength lengths;
  for (int i = 0; i < 200; ++i) {
    lengths.observe(i % 5 == 0 ? 100 + i : 16, i % 5 != 0);
  }
  EXPECT_EQ(lengths.remaining(0, 1000), 255);
  EXPECT_EQ(lengths.least_remaining(0, 1000), 135);
}

TEST(AnswerLength, CutAnswersCountUpToWhereTheyWereCut) {
  AnswerLength lengths;
  for (int i = 0; i < 100; ++i) {
    lengths.observe(i % 2 == 0 ? 20 : 30, i % 2 != 0);
    lengths.observe(0, true);
  }
  EXPECT_EQ(lengths.least_remaining(0, 1000), 20);
  EXPECT_EQ(lengths.remaining(0, 1000), 256);  // half of them did not end in sight
  AnswerLength none_ends;
  for (int i = 0; i < 10; ++i) {
    none_ends.observe(1000, true);
  }
  EXPECT_EQ(none_ends.remaining(0, 8000), 1000);
  EXPECT_EQ(none_ends.least_remaining(0, 8000), 1000);
}

}  // namespace
}  // namespace edgewise::admission
