#include "admission/fair_share.h"

#include <gtest/gtest.h>

namespace edgewise::admission {
namespace {

TEST(FairShare, CountsWhatEachHadOverItsShare) {
  FairShare fair;
  fair.enter("a");
  fair.enter("b");
  fair.charge("a", 3.0, 1.0);
  fair.charge("b", 4.0, 2.0);
  EXPECT_DOUBLE_EQ(fair.lead("a"), 1.0);
  EXPECT_DOUBLE_EQ(fair.lead("b"), 0.0);
  fair.charge("a", -2.0, 1.0);
  EXPECT_DOUBLE_EQ(fair.lead("a"), 0.0);
  EXPECT_DOUBLE_EQ(fair.lead("b"), 1.0);
}

TEST(FairShare, WhoIsAloneIsNeverAhead) {
  FairShare fair;
  fair.enter("a");
  fair.charge("a", 100.0, 1.0);
  EXPECT_DOUBLE_EQ(fair.lead("a"), 0.0);
}

TEST(FairShare, NobodySavesUpTimeWhileAway) {
  FairShare fair;
  fair.enter("a");
  fair.charge("a", 100.0, 1.0);
  fair.enter("late");
  EXPECT_DOUBLE_EQ(fair.lead("late"), 0.0);
  EXPECT_DOUBLE_EQ(fair.lead("a"), 0.0);  // and nobody pays for having been here before
  fair.charge("a", 1.0, 1.0);
  EXPECT_DOUBLE_EQ(fair.lead("a"), 1.0);
  fair.leave("a");
  fair.leave("late");
  fair.enter("third");  // after a pause, too
  fair.enter("a");
  EXPECT_DOUBLE_EQ(fair.lead("a"), 1.0);
}

TEST(FairShare, ServingTheLeastServedDividesTimeByShares) {
  FairShare fair;
  double served[2] = {0.0, 0.0};
  fair.enter("0");
  fair.enter("1");
  for (int i = 0; i < 1000; ++i) {
    const int next = fair.lead("0") <= fair.lead("1") ? 0 : 1;
    const double cost = 0.1 + 0.05 * (i % 7);
    fair.charge(std::to_string(next), cost, next == 0 ? 3.0 : 1.0);
    served[next] += cost;
  }
  EXPECT_NEAR(served[0] / served[1], 3.0, 0.05);
}

}  // namespace
}  // namespace edgewise::admission
