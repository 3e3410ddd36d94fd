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
    lengths.observe(i);
  }
  EXPECT_EQ(lengths.remaining(0, 1000), 81);
  EXPECT_EQ(lengths.remaining(0, 50), 50);
  EXPECT_EQ(lengths.least_remaining(0, 1000), 20);
  EXPECT_EQ(lengths.remaining(51, 1000), 90 - 51 + 1);  // 50 of them are longer: 52 to 101
  EXPECT_EQ(lengths.remaining(100, 150), 50);           // only one is: not enough to say
}

TEST(AnswerLength, FollowsTheWorkload) {
  AnswerLength lengths;
  for (int i = 0; i < 1000; ++i) {
    lengths.observe(500);
  }
  for (int i = 0; i < 256; ++i) {
    lengths.observe(10);
  }
  EXPECT_EQ(lengths.remaining(0, 1000), 10);
}

}  // namespace
}  // namespace edgewise::admission
