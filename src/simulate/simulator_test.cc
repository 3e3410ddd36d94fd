#include "simulate/simulator.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "simulate/running_batch.h"
#include "simulate/statistics.h"
#include "simulate/sweep.h"

namespace edgewise::simulate {
namespace {

// A node on which every batch of n requests takes n seconds, without phases.
Node plain_node() {
  Node node;
  node.profile = {.name = "plain", .memory_bytes = 1e9, .variants = {{.name = "only"}}};
  node.profile.shape = {.layers = 1, .width = 1, .feed_forward = 1};
  node.profile.flops_per_s = schedule::flops(node.profile.shape, 1, 1);
  return node;
}

Arrival arrival(double time_s, double deadline_s) {
  return {.time_s = time_s,
          .request = {.prompt_tokens = 1, .output_tokens = 1, .deadline_s = deadline_s},
          .gains = {1.0}};
}

Outcome run(const Node& node, const std::vector<Arrival>& arrivals, const PolicyOptions& options) {
  return simulate({&node, 1}, arrivals, options).value();
}

TEST(Simulator, ServesOneBatchAfterTheOther) {
  // At 0 the first is served alone until 1; the two that came meanwhile are then served together until 3.
  const std::vector<Arrival> arrivals = {arrival(0.0, 1.5), arrival(0.5, 2.6), arrival(0.6, 2.5)};
  const Outcome outcome = run(plain_node(), arrivals, {});
  EXPECT_EQ(outcome.in_time, 3);
  EXPECT_EQ(outcome.late, 0);
  EXPECT_EQ(outcome.decisions, 2);
  EXPECT_DOUBLE_EQ(outcome.end_s, 3.0);
}

TEST(Simulator, ANodeTakesNoSecondBatchWhileItIsBusy) {
  const std::vector<Arrival> arrivals = {arrival(0.0, 1.5), arrival(0.1, 1.5)};
  EXPECT_EQ(run(plain_node(), arrivals, {}).in_time, 1);
}

TEST(Simulator, ClientsGiveUpAtTheirDeadline) {
  const std::vector<Arrival> arrivals = {arrival(0.0, 1.5), arrival(0.1, 0.5), arrival(0.2, 1.9)};
  const Outcome outcome = run(plain_node(), arrivals, {});
  EXPECT_EQ(outcome.offered, 3);
  EXPECT_EQ(outcome.in_time, 2);
}

TEST(Simulator, DecidesAtEpochsOnlyWhereThereAreSome) {
  Node node = plain_node();
  node.epoch_s = 2.0;
  // Comes at 0.1, is decided at 2, done at 3.
  EXPECT_EQ(run(node, {arrival(0.1, 2.8)}, {}).in_time, 0);
  EXPECT_EQ(run(node, {arrival(0.1, 2.95)}, {}).in_time, 1);
  node.epoch_s = 0.0;
  EXPECT_EQ(run(node, {arrival(0.1, 1.1)}, {}).in_time, 1);
}

TEST(Simulator, StaticBatchesAreBlindToEachOther) {
  // Together they take 2 s, too long for the first.
  const std::vector<Arrival> arrivals = {arrival(0.0, 1.5), arrival(0.0, 3.0)};
  const Outcome outcome =
      run(plain_node(), arrivals, {.policy = Policy::kStatic, .static_size = 2});
  EXPECT_EQ(outcome.in_time, 1);
  EXPECT_EQ(outcome.late, 1);
  EXPECT_EQ(run(plain_node(), arrivals, {}).in_time, 2);
}

TEST(Simulator, WithoutBatchingEachAcceleratorComputesByItself) {
  Node node = plain_node();
  node.accelerators = 2;  // each half as fast: 2 s
  const std::vector<Arrival> arrivals = {arrival(0.0, 2.1), arrival(0.0, 2.1), arrival(0.0, 2.1)};
  const Outcome outcome = run(node, arrivals, {.policy = Policy::kNoBatching});
  EXPECT_EQ(outcome.in_time, 2);
  EXPECT_EQ(run(node, arrivals, {}).in_time, 2);
  EXPECT_FALSE(simulate({&node, 1}, arrivals, {.policy = Policy::kContinuous}));
}

std::vector<Arrival> paper_arrivals(const std::vector<Node>& nodes,
                                    double rate,
                                    std::uint64_t seed) {
  Workload workload = builtin_scenario("paper").value().workload;
  workload.rate_per_s = rate;
  workload.duration_s = 20.0;
  return draw_arrivals(workload, nodes, seed);
}

TEST(Simulator, OptimalSelectionIsNeverLateAndEqualsBruteForceWhereThatCanRun) {
  const std::vector<Node> all = builtin_scenario("paper")->nodes_with("bloom-3b", "w4a16").value();
  const std::vector<Node> server = {all[0]};
  for (std::uint64_t seed = 1; seed <= 20; ++seed) {
    const std::vector<Arrival> arrivals = paper_arrivals(server, 4.0, seed);
    const Outcome ours = simulate(server, arrivals, {}).value();
    const Outcome truth = simulate(server, arrivals, {.policy = Policy::kBruteForce}).value();
    EXPECT_EQ(ours.late, 0);
    EXPECT_EQ(ours.in_time, truth.in_time) << seed;
    EXPECT_EQ(ours.cut_short, 0);
  }
  const std::vector<Arrival> many = paper_arrivals(server, 100.0, 1);
  EXPECT_FALSE(simulate(server, many, {.policy = Policy::kBruteForce}));
}

TEST(Simulator, SeveralNodesServeMoreThanOne) {
  const std::vector<Node> all = builtin_scenario("paper")->nodes_with("bloom-3b", "w4a16").value();
  const std::vector<Node> server = {all[0]};
  for (const Policy policy : {Policy::kOtGah, Policy::kGreedySlack}) {
    const PolicyOptions options{.policy = policy};
    std::vector<Arrival> arrivals = paper_arrivals(all, 100.0, 1);
    const Outcome three = simulate(all, arrivals, options).value();
    const Outcome one = simulate(server, arrivals, options).value();
    EXPECT_GT(three.in_time, one.in_time);
    EXPECT_EQ(three.in_time, simulate(all, arrivals, options)->in_time);  // again
  }
}

TEST(RunningBatch, ComputesPromptsInChunksWhileOthersGenerate) {
  schedule::NodeProfile profile{.name = "node", .variants = {{}}};
  profile.variants[0].step = {.launch_s = 1000.0,
                              .weights_s = 100.0,
                              .row_s = 10.0,
                              .position_s = 0.001,
                              .prompt_token_s = 1.0,
                              .chunk_tokens = 4};
  RunningBatch batch(profile);
  batch.join({.arrival = 1, .prompt_tokens = 2, .output_tokens = 3});
  EXPECT_DOUBLE_EQ(batch.step(), 1002.0);
  batch.join({.arrival = 2, .prompt_tokens = 6, .output_tokens = 1});
  EXPECT_DOUBLE_EQ(batch.step(),
                   1004.0 + 10.003);  // the first one's second token, over 3 positions
  EXPECT_TRUE(batch.leave(0.0).empty());
  EXPECT_DOUBLE_EQ(batch.step(), 1002.0 + 10.004);
  EXPECT_EQ(batch.leave(0.0).size(), 2);  // the prompt's last chunk gives the one token asked for
  EXPECT_TRUE(batch.is_empty());
  batch.join({.prompt_tokens = 1, .computed_tokens = 1, .output_tokens = 2, .answered_tokens = 1});
  EXPECT_DOUBLE_EQ(batch.step(), 1100.002);  // the weights take longer than the row
}

TEST(RunningBatch, PromptsStallWhoGeneratesNoLongerThanAllowed) {
  schedule::NodeProfile profile{.name = "node", .variants = {{}}};
  profile.variants[0].step = {.launch_s = 1.0,
                              .row_s = 1.0,
                              .prompt_token_s = 1.0,
                              .chunk_tokens = 100,
                              .least_stall = 2.0,
                              .most_stall = 3.0};
  RunningBatch batch(profile);
  batch.join({.arrival = 1, .prompt_tokens = 20, .output_tokens = 4});
  EXPECT_DOUBLE_EQ(batch.step(), 21.0);  // nobody waits: the whole prompt
  batch.join({.arrival = 2, .prompt_tokens = 10, .output_tokens = 1});
  EXPECT_DOUBLE_EQ(batch.step(), 6.0);   // alone 2 s, with 4 tokens of the prompt 3 times that
  EXPECT_DOUBLE_EQ(batch.step(0), 4.0);  // nobody queues: the least, 2 tokens
  EXPECT_DOUBLE_EQ(batch.step(2), 6.0);  // two: the most again, the last 4 tokens
  EXPECT_EQ(batch.leave(0.0).size(), 2);
}

TEST(RunningBatch, GeneratesInTheTimeThatTheCostModelForesees) {
  const Scenario gateway = builtin_scenario("gateway").value();
  const schedule::NodeProfile& profile = gateway.nodes[0].profile;
  Random random(1);
  for (int round = 0; round < 200; ++round) {
    RunningBatch batch(profile);
    for (std::size_t i = 0; i <= random.index(8); ++i) {
      const schedule::Request request = draw_request(gateway.workload, random);
      batch.join({.prompt_tokens = request.prompt_tokens,
                  .computed_tokens = request.prompt_tokens,
                  .output_tokens = request.output_tokens,
                  .answered_tokens = 1});
    }
    schedule::FinishTimes foreseen;
    const auto variants = {profile.variants[0].step};
    schedule::StepCostModel(variants, batch.snapshot(0.0)).finish_times({}, foreseen);
    double last = 0.0;
    for (const schedule::Finish& finish : foreseen.running) {
      last = std::max(last, finish.last_token_s);
    }
    double now = 0.0;
    while (!batch.is_empty()) {
      now += batch.step();
      batch.leave(now);
    }
    ASSERT_NEAR(now, last, 1e-9 * last);
  }
}

TEST(Simulator, AdmittingByForecastBeatsFirstComeFirstServedUnderOverload) {
  const Scenario gateway = builtin_scenario("gateway").value();
  Workload workload = gateway.workload;
  workload.rate_per_s = 1.5;
  std::int64_t ours = 0;
  std::int64_t theirs = 0;
  std::int64_t admitted = 0;
  std::int64_t late = 0;
  for (std::uint64_t seed = 1; seed <= 5; ++seed) {
    const std::vector<Arrival> arrivals = draw_arrivals(workload, gateway.nodes, seed);
    const Outcome chosen = simulate(gateway.nodes, arrivals, {}).value();
    ours += chosen.in_time;
    late += chosen.late;
    admitted += chosen.in_time + chosen.late;
    theirs += simulate(gateway.nodes, arrivals, {.policy = Policy::kContinuous})->in_time;
  }
  EXPECT_GT(ours, theirs);
  EXPECT_LT(static_cast<double>(late), 0.03 * static_cast<double>(admitted));
}

TEST(Statistics, GivesTheKnownInterval) {
  const double samples[] = {1.0, 2.0, 3.0, 4.0, 5.0};
  const Estimate known = estimate(samples);
  EXPECT_DOUBLE_EQ(known.mean, 3.0);
  EXPECT_NEAR(known.half_width, 1.9633, 1e-3);  // 2.776 x 1.5811 / sqrt 5
  const double more[] = {2.0, 3.0, 4.0, 5.0, 6.0};
  EXPECT_DOUBLE_EQ(paired_difference(samples, more).mean, 1.0);
  EXPECT_DOUBLE_EQ(paired_difference(samples, more).half_width, 0.0);
}

TEST(Sweep, GivesARowForEverySettingAndPolicy) {
  Scenario paper = builtin_scenario("paper").value();
  paper.nodes.resize(1);
  paper.workload.duration_s = 6.0;
  const SweepOptions options{.models = {"bloom-3b", "opt-13b"},
                             .quantizers = {"w4a16"},
                             .ranges = {{0.5, 2.0}},
                             .rates_per_s = {5.0, 20.0},
                             .policies = {Policy::kOtGah, Policy::kStatic},
                             .seeds = 3};
  const std::vector<SweepRow> rows = sweep(paper, options, [](double) {}).value();
  ASSERT_EQ(rows.size(), 8);
  const std::string csv = to_csv(rows);
  EXPECT_EQ(std::count(csv.begin(), csv.end(), '\n'), 9);
  const std::vector<NamedPlot> plots = to_plots(rows);
  ASSERT_EQ(plots.size(), 2);
  EXPECT_EQ(plots[0].plot.series.size(), 2);
  EXPECT_EQ(plots[0].plot.series[0].points.size(), 2);
}

}  // namespace
}  // namespace edgewise::simulate
