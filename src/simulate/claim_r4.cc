// R4: the assignment is worth half of the optimum at least.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <functional>

#include "schedule/assign.h"
#include "simulate/claim_checks.h"
#include "simulate/workload.h"

namespace edgewise::simulate {
namespace {

using schedule::NodeProblem;

constexpr double kTolerance = 1e-7;  // of sums in another order

std::vector<NodeProblem> draw_nodes(const std::vector<Node>& nodes,
                                    const Workload& workload,
                                    std::size_t requests,
                                    double compute_share,
                                    bool with_values,
                                    Random& random) {
  std::vector<schedule::Request> waiting;
  for (std::size_t i = 0; i < requests; ++i) {
    waiting.push_back(draw_request(workload, random));
    waiting.back().value = with_values ? random.uniform(0.1, 3.0) : 1.0;
  }
  std::vector<NodeProblem> problems;
  for (const Node& node : nodes) {
    schedule::NodeProfile profile = node.profile;
    profile.flops_per_s *= compute_share * random.uniform(0.5, 1.5);
    if (profile.radio) {
      profile.radio->bits_per_token *= std::pow(10.0, random.uniform(0.0, 3.0));
    }
    std::vector<double> gains;
    for (std::size_t i = 0; i < requests; ++i) {
      gains.push_back(draw_gain(node.channel, random));
    }
    problems.push_back(make_node_problem(profile, waiting, gains));
  }
  return problems;
}

struct Ratios {
  double least = 1.0;
  double sum = 0.0;
  int count = 0;

  void add(double value, double of) {
    const double ratio = of > 0.0 ? value / of : 1.0;
    least = std::min(least, ratio);
    sum += ratio;
    ++count;
  }

  double mean() const { return sum / count; }
};

struct AgainstOptimum {
  Ratios one_order;  // without local search
  Ratios product;
  int above = 0;  // with a value above the optimum or a bound below it
};

AgainstOptimum compare_with_optimum(const std::vector<Node>& nodes,
                                    const Workload& workload,
                                    int cases,
                                    const std::function<void(double)>& progress,
                                    Random& random) {
  AgainstOptimum result;
  for (int i = 0; i < cases; ++i) {
    const std::vector<NodeProblem> problems = draw_nodes(
        nodes, workload, 5, std::pow(10.0, random.uniform(-1.5, 1.0)), i % 2 == 0, random);
    const double optimum = schedule::assign_exhaustively(problems).value;
    const schedule::Assignment one = schedule::assign(
        problems, {.all_orders = false, .local_search = false, .bound_rounds = -1});
    const schedule::Assignment best = schedule::assign(problems);
    result.one_order.add(one.value, optimum);
    result.product.add(best.value, optimum);
    result.above += one.value > optimum * (1.0 + kTolerance) ||
                            best.value > optimum * (1.0 + kTolerance) ||
                            best.upper_bound < optimum * (1.0 - kTolerance)
                        ? 1
                        : 0;
    progress(static_cast<double>(i + 1) / cases);
  }
  return result;
}

// Where the optimum is out of reach.
Ratios compare_with_bound(const std::vector<Node>& nodes,
                          const Workload& workload,
                          int cases,
                          const std::function<void(double)>& progress,
                          Random& random) {
  Ratios result;
  for (int i = 0; i < cases; ++i) {
    const std::vector<NodeProblem> problems =
        draw_nodes(nodes, workload, 60, 1.0, i % 2 == 0, random);
    const schedule::Assignment best = schedule::assign(problems, {.search = {.max_nodes = 20'000}});
    result.add(best.value, best.upper_bound);
    progress(static_cast<double>(i + 1) / cases);
  }
  return result;
}

}  // namespace

Result<ClaimReport> check_r4(const Scenario& scenario, const ClaimOptions& options) {
  ClaimReport report{
      .id = "R4",
      .statement = "GAH's assignment over several nodes is worth at least half of the optimum"};
  constexpr int kCases = 2000;
  const std::vector<Node> nodes =
      TRY(scenario.nodes_with(scenario.models.at(0).name, kAnyQuantizer));
  Random random(4);
  const auto [plain, full, above] = compare_with_optimum(
      nodes, scenario.workload, kCases, [&](double share) { options.progress(0.5 * share); },
      random);
  report.lines.push_back(fmt::format(
      "{} nodes, 5 requests, {} cases against exhaustive search:", nodes.size(), kCases));
  report.lines.push_back(
      fmt::format("  one order, no local search: least {:.4f}, mean {:.4f} of the optimum",
                  plain.least, plain.mean()));
  report.lines.push_back(fmt::format(
      "  as in the product:          least {:.4f}, mean {:.4f}; {} with a value above the "
      "optimum or a bound below it",
      full.least, full.mean(), above));
  const Ratios large = compare_with_bound(
      nodes, scenario.workload, options.seeds,
      [&](double share) { options.progress(0.5 + 0.5 * share); }, random);
  report.lines.push_back(
      fmt::format("60 requests, {} draws against the upper bound: least {:.4f}, mean {:.4f}",
                  options.seeds, large.least, large.mean()));
  report.holds = plain.least >= 0.5 - kTolerance && full.least >= 0.5 - kTolerance && above == 0;
  report.summary = fmt::format(
      "least share of the optimum {:.4f} in one order, {:.4f} as in the product, over {} cases",
      plain.least, full.least, kCases);
  report.figures = {{"cases", kCases},
                    {"least_one_order", plain.least},
                    {"mean_one_order", plain.mean()},
                    {"least", full.least},
                    {"mean", full.mean()},
                    {"least_of_bound_60_requests", large.least},
                    {"mean_of_bound_60_requests", large.mean()}};
  return report;
}

}  // namespace edgewise::simulate
