#include "simulate/claims.h"

#include <gtest/gtest.h>

#include "simulate/claim_cases.h"

namespace edgewise::simulate {
namespace {

double figure(const ClaimReport& report, std::string_view name) {
  for (const auto& [its, value] : report.figures) {
    if (its == name) {
      return value;
    }
  }
  ADD_FAILURE() << "no figure " << name;
  return 0.0;
}

TEST(Claims, TheSearchIsShortAsTheNotesOfAnIndependentPrototypeSay) {
  const ClaimReport report =
      check_claim("R2", builtin_scenario("paper").value(), {.seeds = 5}).value();
  EXPECT_TRUE(report.holds);
  // Means of few draws, so only the order of magnitude is the same.
  EXPECT_NEAR(figure(report, "nodes_without_pruning_10") / 479.0, 1.0, 0.3);
  EXPECT_NEAR(figure(report, "nodes_without_pruning_40") / 467e3, 1.0, 0.3);
  EXPECT_NEAR(figure(report, "nodes_without_pruning_160") / 422e6, 1.0, 0.3);
}

// The paper's server, in a part of the settings.
TEST(Claims, MoreRequestsAreInTimeThanByTheBaselines) {
  Scenario paper = builtin_scenario("paper").value();
  paper.models.resize(1);
  const ClaimReport report =
      check_claim("R3", paper, {.seeds = 2, .duration_s = 10.0, .rates_per_s = {25, 100}}).value();
  EXPECT_TRUE(report.holds) << report.summary;
  const double ours = figure(report, "ot_goodput_per_s");
  EXPECT_GT(ours, 2.0 * figure(report, "static_goodput_per_s"));
  EXPECT_GT(ours, 5.0 * figure(report, "no-batching_goodput_per_s"));
}

// A server so slow that nobody is ever served: nothing is answered, so nothing is answered less.
TEST(Claims, AreComputedAnewFromTheProfile) {
  Scenario slow = builtin_scenario("paper").value();
  slow.models.resize(1);
  slow.nodes[0].profile.flops_per_s = 1.0;
  const ClaimReport report =
      check_claim("R3", slow, {.seeds = 2, .duration_s = 4.0, .rates_per_s = {5, 25}}).value();
  EXPECT_TRUE(report.holds);
  EXPECT_EQ(figure(report, "ot_goodput_per_s"), 0.0);
}

// A node that decides anew after every request: an optimal batch looks no further than itself, and one by one may win.
// Then the check has to say so.
TEST(Claims, CanFail) {
  Scenario unfair = builtin_scenario("paper").value();
  unfair.models.resize(1);
  unfair.nodes[0].accelerators = 1;  // without batching a request gets the whole node
  unfair.nodes[0].epoch_s = 0.0;
  unfair.nodes[0].profile.upload_s = unfair.nodes[0].profile.download_s = 1e-3;
  const ClaimReport report =
      check_claim("R3", unfair, {.seeds = 3, .duration_s = 10.0, .rates_per_s = {5, 25}}).value();
  EXPECT_FALSE(report.holds) << report.summary;
}

TEST(Claims, OfOtherNamesAreRefused) {
  EXPECT_FALSE(check_claim("R9", builtin_scenario("paper").value(), {}));
  EXPECT_FALSE(check_claim("R1", builtin_scenario("gateway").value(), {}));
}

}  // namespace
}  // namespace edgewise::simulate
