#include "schedule/published_tree.h"

#include <gtest/gtest.h>

#include <numeric>

#include "schedule/exhaustive.h"
#include "schedule/select_batch.h"
#include "schedule/test_support.h"

namespace edgewise::schedule {
namespace {

constexpr ModelShape kBloom3B{.layers = 30, .width = 2560, .feed_forward = 10240};

// The paper's server with BLOOM-3B at 8 bits: every prompt padded to 512, nobody has waited yet.
FlopCost server_cost() {
  return FlopCost({.shape = kBloom3B,
                   .flops_per_s = 26.6e12,
                   .time_factors = {0.5},
                   .padded_prompt = 512,
                   .upload_s = 0.25,
                   .download_s = 0.25,
                   .compute_s = 1.5});
}

Capacity server_capacity() {
  return {.memory_bytes = 32e9 - 0.5 * fp16_weight_bytes(kBloom3B)};
}

std::vector<Candidate> waiting(InstanceMaker& maker, std::int64_t count, double link) {
  std::vector<Candidate> candidates(static_cast<std::size_t>(count));
  for (std::size_t i = 0; i < candidates.size(); ++i) {
    candidates[i].request = static_cast<std::int32_t>(i);
    candidates[i].output_tokens = std::int64_t{128} << maker.integer(0, 2);
    candidates[i].deadline_s = maker.real(0.5, 2.0);
    candidates[i].memory_bytes = 0.5 * fp16_kv_bytes(kBloom3B, 512 + candidates[i].output_tokens);
    candidates[i].uplink = maker.real(0.0, link);
    candidates[i].downlink = maker.real(0.0, link);
  }
  return candidates;
}

// The mean sizes of the optimal batch that an independent prototype found for this setting.
TEST(PublishedTree, FindsTheKnownMeanBatches) {
  struct Known {
    std::int64_t waiting;
    double mean_batch;
  };

  InstanceMaker maker(30);
  for (const Known known : {Known{10, 6.5}, {20, 9.5}, {40, 13.2}, {80, 15.8}, {160, 19.4}}) {
    const int draws = known.waiting > 40 ? 10 : 40;
    double total = 0.0;
    for (int draw = 0; draw < draws; ++draw) {
      const std::vector<Candidate> candidates = waiting(maker, known.waiting, 1e-4);
      const FlopCost cost = server_cost();
      const PublishedResult tree = select_by_published_tree(candidates, cost, server_capacity());
      const Selection ours = select_batch(candidates, cost, server_capacity());
      ASSERT_TRUE(ours.is_optimal);
      ASSERT_EQ(ours.chosen.size(), tree.chosen.size());
      total += ours.value;
    }
    EXPECT_NEAR(total / draws, known.mean_batch, 0.9) << known.waiting << " waiting";
  }
}

TEST(PublishedTree, EqualsExhaustiveSearchWhereOneLinkNeedOrdersTheOther) {
  InstanceMaker maker(31);
  for (int round = 0; round < 300; ++round) {
    std::vector<Candidate> candidates = waiting(maker, maker.integer(1, 12), 0.4);
    for (Candidate& candidate : candidates) {
      candidate.downlink = 0.9 * candidate.uplink;
    }
    const FlopCost cost = server_cost();
    const Selection truth = select_exhaustively(candidates, cost, server_capacity());
    const PublishedResult tree = select_by_published_tree(candidates, cost, server_capacity());
    ASSERT_EQ(static_cast<double>(tree.chosen.size()), truth.value) << round;
  }
}

// Three requests alike but for their links. By the sum of both needs the first is the cheapest, yet only the other
// two fit together: the flaw of one key per class.
TEST(PublishedTree, MissesTheBestSetWhereTheLinksDisagree) {
  std::vector<Candidate> candidates(3);
  const double uplinks[] = {0.50, 0.10, 0.90};
  const double downlinks[] = {0.45, 0.90, 0.10};
  for (std::size_t i = 0; i < 3; ++i) {
    candidates[i].request = static_cast<std::int32_t>(i);
    candidates[i].output_tokens = 128;
    candidates[i].deadline_s = 2.0;
    candidates[i].uplink = uplinks[i];
    candidates[i].downlink = downlinks[i];
  }
  // A pivot that takes no link, so that all three are in one class.
  Candidate pivot = candidates[0];
  pivot.request = 3;
  pivot.deadline_s = 1.9;
  pivot.uplink = pivot.downlink = 0.0;
  candidates.push_back(pivot);
  const FlopCost cost = server_cost();
  EXPECT_EQ(select_by_published_tree(candidates, cost, {}).chosen.size(), 2);
  const Selection ours = select_batch(candidates, cost, {});
  EXPECT_EQ(ours.chosen, (std::vector<std::int32_t>{1, 2, 3}));
  EXPECT_TRUE(ours.is_optimal);
}

TEST(PublishedTree, IsNotExactOnRandomLinksAndTheProductIs) {
  InstanceMaker maker(32);
  int missed = 0;
  for (int round = 0; round < 1000; ++round) {
    const std::vector<Candidate> candidates = waiting(maker, 12, 0.4);
    const FlopCost cost = server_cost();
    const Selection ours = select_batch(candidates, cost, server_capacity());
    ASSERT_TRUE(ours.is_optimal);
    const PublishedResult tree = select_by_published_tree(candidates, cost, server_capacity());
    ASSERT_LE(static_cast<double>(tree.chosen.size()), ours.value);
    missed += static_cast<double>(tree.chosen.size()) < ours.value ? 1 : 0;
  }
  EXPECT_GT(missed, 0);
}

TEST(PublishedTree, CountsTheNodesOfATreeWithoutPruning) {
  // Two alike requests, none served: sizes 2 and 1. Size 2: pivot 2 over a class of one, need 1: root, take 0 (a leaf
  // that lacks one), take 1 (done). Size 1: both pivots are done at the root. And a node for each pair.
  std::vector<Candidate> candidates(2);
  candidates[1].request = 1;
  EXPECT_EQ(nodes_without_pruning(candidates, server_cost(), 0), 3.0 + 1.0 + 1.0 + 3.0);
  EXPECT_EQ(nodes_without_pruning(candidates, server_cost(), 1), 4.0);
}

}  // namespace
}  // namespace edgewise::schedule
