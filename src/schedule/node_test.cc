#include "schedule/node.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

namespace edgewise::schedule {
namespace {

// The paper's edge server: 20 MHz each way, 20 dBm users, 43 dBm node, -174 dBm/Hz of noise.
Radio server_radio() {
  return {.uplink_hz = 20e6,
          .downlink_hz = 20e6,
          .user_power_w = watts_of_dbm(20.0),
          .node_power_w = watts_of_dbm(43.0),
          .noise_w_per_hz = watts_of_dbm(-174.0),
          .bits_per_token = 32.0};
}

TEST(Link, TheLeastShareCarriesTheTokensInThePhase) {
  const Radio radio = server_radio();
  const double share = uplink_share(radio, 1e-3, 512, 0.25);
  const double noise = std::pow(10.0, -17.4) * 1e-3 * 20e6;
  const double bits_per_s = share * 20e6 * std::log2(1.0 + 0.1 * 1e-3 / noise);
  EXPECT_NEAR(bits_per_s * 0.25, 512.0 * 32.0, 1e-6);
  EXPECT_NEAR(share, 1e-4, 0.5e-4);  // "about 1e-4 per prompt": the server's link never binds
}

TEST(Link, WeakerChannelsAndLongerTextsNeedMore) {
  const Radio radio = server_radio();
  EXPECT_GT(uplink_share(radio, 1e-9, 512, 0.25), uplink_share(radio, 1e-3, 512, 0.25));
  EXPECT_GT(downlink_share(radio, 1e-3, 512, 0.25), downlink_share(radio, 1e-3, 256, 0.25));
  EXPECT_LT(downlink_share(radio, 1e-3, 512, 0.25), uplink_share(radio, 1e-3, 512, 0.25));
}

NodeProfile node_with(std::vector<Variant> variants) {
  NodeProfile node{.name = "node", .memory_bytes = 10e9, .variants = std::move(variants)};
  node.flops_per_s = 26.6e12;
  node.shape = {.layers = 30, .width = 2560, .feed_forward = 10240};
  node.padded_prompt = 512;
  node.upload_s = node.download_s = 0.25;
  return node;
}

std::vector<std::int32_t> variants_of(const NodeProblem& problem) {
  std::vector<std::int32_t> variants;
  for (const Candidate& candidate : problem.candidates) {
    variants.push_back(candidate.variant);
  }
  return variants;
}

TEST(Node, WithoutARadioNoBandwidthIsNeeded) {
  NodeProfile node = node_with({{.kv_bytes_per_token = 1e6}});
  const Request request{.prompt_tokens = 100, .output_tokens = 128};
  const NodeProblem wired = make_node_problem(node, {&request, 1}, {});
  EXPECT_EQ(wired.candidates[0].uplink, 0.0);
  EXPECT_EQ(wired.candidates[0].downlink, 0.0);
  node.radio = server_radio();
  const double gain = 1e-3;
  const NodeProblem radio = make_node_problem(node, {&request, 1}, {&gain, 1});
  EXPECT_EQ(radio.candidates[0].uplink, uplink_share(*node.radio, gain, 100, 0.25));
  EXPECT_EQ(radio.candidates[0].downlink, downlink_share(*node.radio, gain, 128, 0.25));
  EXPECT_EQ(radio.candidates[0].memory_bytes, 1e6 * (512 + 128));  // padded
}

TEST(Node, AccuracyComesFromMeasuredPerplexity) {
  EXPECT_EQ(accuracy_of_perplexity(13.48, 13.48, 0.96), 1.0);
  EXPECT_EQ(accuracy_of_perplexity(13.40, 13.48, 0.96),
            1.0);  // better than the reference by chance
  EXPECT_NEAR(accuracy_of_perplexity(14.20, 13.48, std::log(2.0) / 0.72), 0.5, 1e-12);
}

TEST(Node, ARequestMayUseOnlyVariantsThatMeetItsAccuracyDemand) {
  // Names say nothing: the small one is the better one here.
  const NodeProfile node = node_with({{.name = "big", .accuracy = 0.6, .time_factor = 1.0},
                                      {.name = "small", .accuracy = 0.9, .time_factor = 0.5}});
  const std::vector<Request> requests = {
      {.min_accuracy = 0.95}, {.min_accuracy = 0.9}, {.min_accuracy = 0.5}};
  const NodeProblem problem = make_node_problem(node, requests, {});
  EXPECT_EQ(variants_of(problem), (std::vector<std::int32_t>{1, 1}));  // the other is beaten
  EXPECT_EQ(problem.candidates[0].request, 1);
}

TEST(Node, AVariantThatIsBetterInOnlyOneWayStaysAChoice) {
  const NodeProfile node =
      node_with({{.name = "quick", .kv_bytes_per_token = 2e6, .time_factor = 0.5},
                 {.name = "small", .kv_bytes_per_token = 1e6, .time_factor = 1.0}});
  const Request request;
  EXPECT_EQ(variants_of(make_node_problem(node, {&request, 1}, {})).size(), 2);
}

TEST(Node, OfTwoEqualVariantsOneIsKept) {
  const NodeProfile node = node_with({{.name = "a"}, {.name = "b"}});
  const Request request;
  EXPECT_EQ(variants_of(make_node_problem(node, {&request, 1}, {})),
            (std::vector<std::int32_t>{0}));
}

TEST(Node, LoadedWeightsTakeMemoryAndStoredOnesOnceTheyAreUsed) {
  const NodeProfile node =
      node_with({{.name = "loaded", .weight_bytes = 4e9, .time_factor = 1.0},
                 {.name = "stored", .weight_bytes = 2e9, .is_loaded = false, .time_factor = 0.5}});
  const Request request;
  const NodeProblem problem = make_node_problem(node, {&request, 1}, {});
  EXPECT_EQ(problem.capacity.memory_bytes, 6e9);
  EXPECT_EQ(problem.capacity.load_bytes(0), 0.0);
  EXPECT_EQ(problem.capacity.load_bytes(1), 2e9);
  EXPECT_EQ(problem.candidates.size(), 2);
}

}  // namespace
}  // namespace edgewise::schedule
