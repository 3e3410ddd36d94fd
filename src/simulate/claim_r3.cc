// R3: more requests in time than by the baselines.
#include <fmt/format.h>

#include <algorithm>
#include <map>

#include "simulate/claim_checks.h"
#include "simulate/sweep.h"

namespace edgewise::simulate {
namespace {

struct Comparison {
  int settings = 0;
  int better = 0;  // by more than the 95 % interval of the paired difference
  int worse = 0;   // likewise
  int lower_mean = 0;
  double ours = 0.0;
  double theirs = 0.0;
  double worst = 0.0;  // the lowest difference of means, requests/s
  std::string worst_where;
};

void add_comparison(const SweepRow& ours, const SweepRow& theirs, Comparison& comparison) {
  const Estimate difference = paired_difference(theirs.per_second, ours.per_second);
  ++comparison.settings;
  comparison.better += difference.mean - difference.half_width > 0.0 ? 1 : 0;
  comparison.worse += difference.mean + difference.half_width < 0.0 ? 1 : 0;
  comparison.lower_mean += difference.mean < -1e-9 ? 1 : 0;
  comparison.ours += ours.goodput.mean;
  comparison.theirs += theirs.goodput.mean;
  if (difference.mean < comparison.worst - 1e-9) {
    comparison.worst = difference.mean;
    comparison.worst_where =
        fmt::format("{} {}, {:g} requests/s, deadlines {:g} to {:g} s", ours.model, ours.quantizer,
                    ours.rate_per_s, ours.range.least_s, ours.range.most_s);
  }
}

struct GridResult {
  std::map<Policy, Comparison> against;
  std::int64_t decisions = 0;
  std::int64_t cut_short = 0;
};

Result<GridResult> compare_on_grid(const Scenario& scenario,
                                   const SweepOptions& grid,
                                   const std::function<void(double)>& progress) {
  const std::vector<SweepRow> rows = TRY(sweep(scenario, grid, progress));
  GridResult result;
  const std::size_t policies = grid.policies.size();
  for (std::size_t first = 0; first < rows.size(); first += policies) {
    result.decisions += rows[first].decisions;
    result.cut_short += rows[first].cut_short;
    for (std::size_t k = 1; k < policies; ++k) {
      add_comparison(rows[first], rows[first + k], result.against[rows[first + k].policy]);
    }
  }
  return result;
}

void report_grid(const GridResult& result, const std::string& prefix, ClaimReport& report) {
  for (const auto& [policy, its] : result.against) {
    report.lines.push_back(fmt::format(
        "  against {:<16} {:5.2f} to {:5.2f} requests/s on average; of {} settings surely better "
        "in "
        "{}, surely worse in {}, lower mean in {}{}",
        policy_name(policy), its.ours / its.settings, its.theirs / its.settings, its.settings,
        its.better, its.worse, its.lower_mean,
        its.worst < 0.0 ? fmt::format("; at worst {:.3f} ({})", its.worst, its.worst_where) : ""));
    const std::string name = prefix + std::string(policy_name(policy));
    report.figures.emplace_back(name + "_goodput_per_s", its.theirs / its.settings);
    report.figures.emplace_back(name + "_settings_with_lower_mean", its.lower_mean);
    report.figures.emplace_back(name + "_worst_difference_per_s", its.worst);
  }
  report.lines.push_back(
      fmt::format("  {} of {} decisions of OT were cut short", result.cut_short, result.decisions));
}

SweepOptions grid_of(const Scenario& scenario, const ClaimOptions& options) {
  SweepOptions grid;
  for (const ModelProfile& model : scenario.models) {
    grid.models.push_back(model.name);
    for (const Quantizer& quantizer : model.quantizers) {
      if (std::find(grid.quantizers.begin(), grid.quantizers.end(), quantizer.name) ==
          grid.quantizers.end()) {
        grid.quantizers.push_back(quantizer.name);
      }
    }
  }
  grid.ranges = {{0.5, 1.0}, {0.5, 1.5}, {0.5, 2.0}};
  grid.rates_per_s = options.rates_per_s;
  grid.policies = {Policy::kOtGah,       Policy::kStatic,         Policy::kNoBatching,
                   Policy::kGreedySlack, Policy::kGreedyShortest, Policy::kGreedyArrival};
  grid.seeds = options.seeds;
  return grid;
}

}  // namespace

Result<ClaimReport> check_r3(const Scenario& scenario, const ClaimOptions& options) {
  ClaimReport report{.id = "R3",
                     .statement =
                         "OT answers at least as many requests in time as static batching and no "
                         "batching, for every rate, latency range, model and quantizer"};
  Scenario one = scenario;
  one.nodes.resize(std::min<std::size_t>(1, one.nodes.size()));
  one.workload.duration_s = options.duration_s;
  const SweepOptions grid = grid_of(one, options);
  const GridResult as_given =
      TRY(compare_on_grid(one, grid, [&](double share) { options.progress(0.5 * share); }));
  report.lines.push_back("decisions as the profile has them (the claim is about these):");
  report_grid(as_given, "", report);
  for (Node& node : one.nodes) {
    node.epoch_s = 0.0;
  }
  const GridResult free =
      TRY(compare_on_grid(one, grid, [&](double share) { options.progress(0.5 + 0.5 * share); }));
  report.lines.push_back("without epochs, deciding whenever the node is free (beyond the claim):");
  report_grid(free, "free_", report);
  report.lines.push_back("static batching is at its best size in each setting");
  const Comparison& fixed = as_given.against.at(Policy::kStatic);
  const Comparison& none = as_given.against.at(Policy::kNoBatching);
  report.holds = fixed.lower_mean == 0 && none.lower_mean == 0;
  report.summary = fmt::format(
      "lower mean than static batching in {} and than no batching in {} of {} settings, {} seeds "
      "each (without epochs: in {} and {})",
      fixed.lower_mean, none.lower_mean, fixed.settings, options.seeds,
      free.against.at(Policy::kStatic).lower_mean, free.against.at(Policy::kNoBatching).lower_mean);
  report.figures.emplace_back("settings", fixed.settings);
  report.figures.emplace_back("ot_goodput_per_s", fixed.ours / fixed.settings);
  return report;
}

}  // namespace edgewise::simulate
