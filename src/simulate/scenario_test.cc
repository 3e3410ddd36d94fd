#include "simulate/scenario.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "simulate/workload.h"

namespace edgewise::simulate {
namespace {

using testing::HasSubstr;

TEST(Scenario, ThePapersSettingIsBuiltIn) {
  const Scenario paper = builtin_scenario("paper").value();
  ASSERT_EQ(paper.models.size(), 3);
  ASSERT_EQ(paper.nodes.size(), 3);
  const std::vector<Node> nodes = paper.nodes_with("bloom-3b", "w16a16").value();
  const schedule::NodeProfile& server = nodes[0].profile;
  EXPECT_EQ(server.name, "server");
  EXPECT_EQ(server.flops_per_s, 26.6e12);
  EXPECT_NEAR(server.variants[0].weight_bytes / 1e9, 4.72, 0.005);
  EXPECT_NEAR(1e3 * schedule::flops(server.shape, 512, 256) / server.flops_per_s, 141.0, 0.05);
  EXPECT_TRUE(server.variants[0].is_loaded);
}

TEST(Scenario, AnyQuantizerMeansAllOfThemOnDisk) {
  const Scenario paper = builtin_scenario("paper").value();
  const std::vector<Node> nodes = paper.nodes_with("bloom-3b", kAnyQuantizer).value();
  ASSERT_EQ(nodes[0].profile.variants.size(), 3);
  EXPECT_FALSE(nodes[0].profile.variants[0].is_loaded);
  EXPECT_EQ(nodes[0].profile.variants[0].accuracy, 1.0);
  EXPECT_NEAR(nodes[0].profile.variants[2].accuracy, 0.5, 1e-4);
  EXPECT_EQ(paper.nodes_with("gpt", "w4a16").error().code, ErrorCode::kNotFound);
  EXPECT_EQ(paper.nodes_with("bloom-3b", "w2").error().code, ErrorCode::kNotFound);
  const Scenario measured = builtin_scenario("gateway").value();
  EXPECT_TRUE(measured.nodes_with("", kAnyQuantizer));
  EXPECT_EQ(measured.nodes_with("gpt", kAnyQuantizer).error().code, ErrorCode::kNotFound);
  EXPECT_EQ(measured.nodes_with("", "w2").error().code, ErrorCode::kInvalidArgument);
}

TEST(Scenario, MistakesInAFileAreNamed) {
  const auto error = [](std::string_view text) { return parse_scenario(text).error().message; };
  EXPECT_THAT(error("{\n\"nodes\": [}"), HasSubstr("line 2"));
  EXPECT_THAT(error("[]"), HasSubstr("not a JSON object"));
  EXPECT_THAT(error(R"({"nodse": []})"), HasSubstr("nodse"));
  EXPECT_THAT(error(R"({"nodes": [{"name": "a"}]})"), HasSubstr("memory_bytes"));
  EXPECT_THAT(error(R"({"nodes": [{"name": "a", "memory_bytes": 1}]})"), HasSubstr("flops_per_s"));
  EXPECT_THAT(error(R"({"nodes": [{"name": "a", "memory_bytes": -1}]})"), HasSubstr("-1"));
  EXPECT_THAT(error(R"({} x)"), HasSubstr("line 1"));
}

TEST(Scenario, RequestsAreReadWithTheirGains) {
  const Scenario paper = builtin_scenario("paper").value();
  const auto requests = parse_requests(
      R"([{"prompt_tokens": 5, "output_tokens": 7, "deadline_s": 2, "gains": {"uav": 1e-7}}])",
      paper.nodes, Arrivals::kApart);
  ASSERT_TRUE(requests);
  EXPECT_EQ((*requests)[0].id, "0");
  EXPECT_EQ((*requests)[0].gains, (std::vector<double>{1.0, 1e-7, 1.0}));
  constexpr char kOnTime[] = R"([{"prompt_tokens": 5, "output_tokens": 1, "arrival_s": 2}])";
  EXPECT_EQ(parse_requests(kOnTime, paper.nodes, Arrivals::kApart)->at(0).arrival_s, 2.0);
  EXPECT_FALSE(parse_requests(kOnTime, paper.nodes, Arrivals::kTogether));
  EXPECT_FALSE(parse_requests(R"([{"prompt_tokens": 5}])", paper.nodes, Arrivals::kApart));
  EXPECT_FALSE(parse_requests(R"([{"prompt_tokens": 5, "output_tokens": 1.5}])", paper.nodes,
                              Arrivals::kApart));
  EXPECT_FALSE(parse_requests(R"([{"prompt_tokens": 5, "output_tokens": 1, "gains": {"moon": 1}}])",
                              paper.nodes, Arrivals::kApart));
}

TEST(Workload, IsPoissonAndTheSameForTheSameSeed) {
  const Scenario paper = builtin_scenario("paper").value();
  Workload workload = paper.workload;
  workload.rate_per_s = 100.0;
  workload.duration_s = 100.0;
  const std::vector<Arrival> arrivals = draw_arrivals(workload, paper.nodes, 1);
  const std::vector<Arrival> again = draw_arrivals(workload, paper.nodes, 1);
  EXPECT_NEAR(static_cast<double>(arrivals.size()), 10'000.0, 400.0);  // 4 standard deviations
  ASSERT_EQ(arrivals.size(), again.size());
  double gaps = 0.0;
  for (std::size_t i = 1; i < arrivals.size(); ++i) {
    const double gap = arrivals[i].time_s - arrivals[i - 1].time_s;
    ASSERT_EQ(arrivals[i].time_s, again[i].time_s);
    ASSERT_EQ(arrivals[i].gains, again[i].gains);
    ASSERT_GE(gap, 0.0);
    gaps += gap * gap;
  }
  // Of an exponential with mean 0.01 the mean square is 2e-4.
  EXPECT_NEAR(gaps / static_cast<double>(arrivals.size()), 2e-4, 2e-5);
  EXPECT_NE(draw_arrivals(workload, paper.nodes, 2)[0].time_s, arrivals[0].time_s);
}

}  // namespace
}  // namespace edgewise::simulate
