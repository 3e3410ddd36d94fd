#include "simulate/claims.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <map>

#include "schedule/assign.h"
#include "schedule/exhaustive.h"
#include "schedule/published_tree.h"
#include "schedule/select_batch.h"
#include "simulate/claim_cases.h"
#include "simulate/sweep.h"
#include "simulate/workload.h"

namespace edgewise::simulate {
namespace {

using schedule::NodeProblem;
using schedule::Selection;

constexpr double kTolerance = 1e-7;  // of sums in another order

// The first node of the scenario, serving one model.
Result<Node> first_node(const Scenario& scenario,
                        std::string_view model,
                        std::string_view quantizer) {
  const std::vector<Node> nodes = TRY(scenario.nodes_with(model, quantizer));
  if (nodes.empty() || nodes[0].profile.flops_per_s <= 0.0) {
    return fail(ErrorCode::kInvalidArgument, "the claims are about a node with \"flops_per_s\"");
  }
  return nodes[0];
}

// --- R1: the selection is optimal ------------------------------------------------------------------------------

struct Agreement {
  int cases = 0;
  int wrong = 0;       // of select_batch
  int missed = 0;      // the tree as published found less
  int tree_cases = 0;  // it is about counts with one quantizer
  double mean_size = 0.0;
};

void compare(const NodeProblem& problem, bool with_tree, Agreement& agreement) {
  const Selection truth =
      schedule::select_exhaustively(problem.candidates, *problem.cost, problem.capacity);
  const Selection found =
      schedule::select_batch(problem.candidates, *problem.cost, problem.capacity);
  std::vector<schedule::Candidate> set;
  for (const std::int32_t c : found.chosen) {
    set.push_back(problem.candidates[static_cast<std::size_t>(c)]);
  }
  schedule::FinishTimes times;
  const bool is_right = schedule::is_feasible(set, *problem.cost, problem.capacity, times) &&
                        std::abs(found.value - truth.value) <= kTolerance * (1.0 + truth.value) &&
                        found.is_optimal;
  ++agreement.cases;
  agreement.wrong += is_right ? 0 : 1;
  agreement.mean_size += static_cast<double>(found.chosen.size());
  if (const auto* counted = dynamic_cast<const schedule::FlopCost*>(problem.cost.get());
      with_tree && counted != nullptr) {
    const auto tree =
        schedule::select_by_published_tree(problem.candidates, *counted, problem.capacity);
    ++agreement.tree_cases;
    agreement.missed += static_cast<double>(tree.chosen.size()) < truth.value ? 1 : 0;
  }
}

void report_agreement(const std::string& kind, Agreement agreement, ClaimReport& report) {
  report.lines.push_back(fmt::format(
      "{:<52} {:>5} cases, mean batch {:4.1f}: {} differ from exhaustive search{}", kind,
      agreement.cases, agreement.mean_size / agreement.cases, agreement.wrong,
      agreement.tree_cases > 0 ? fmt::format("; the tree as published: {} differ", agreement.missed)
                               : ""));
}

Result<ClaimReport> check_r1(const Scenario& scenario, const ClaimOptions& options) {
  ClaimReport report{.id = "R1",
                     .statement = "OT is optimal: its set is worth what exhaustive search finds"};
  constexpr int kCases = 2000;
  const Scenario gateway = TRY(builtin_scenario("gateway"));
  Random random(1);
  const auto any_model = [&] { return scenario.models[random.index(scenario.models.size())]; };
  Agreement channels;
  Agreement conflicting;
  Agreement choices;
  Agreement joining;
  for (int i = 0; i < kCases; ++i) {
    const ModelProfile model = any_model();
    const Quantizer quantizer = model.quantizers[random.index(model.quantizers.size())];
    const Node node = TRY(first_node(scenario, model.name, quantizer.name));
    const double load = std::pow(10.0, random.uniform(0.0, 4.0));
    compare(draw_problem(node, scenario.workload, 12, load, random), true, channels);
    NodeProblem redrawn = draw_problem(node, scenario.workload, 12, 1.0, random);
    redraw_links(redrawn, 0.4, random);
    compare(redrawn, true, conflicting);
    const Node free = TRY(first_node(scenario, model.name, kAnyQuantizer));
    NodeProblem valued = draw_problem(free, scenario.workload, 5, load, random);
    redraw_values(valued, random);
    compare(valued, false, choices);
    compare(draw_joining(gateway.nodes[0], gateway.workload, 10, random), false, joining);
    options.progress(static_cast<double>(i + 1) / kCases);
  }
  report_agreement("channels as the node has them, links loaded 1 to 10^4", channels, report);
  report_agreement("uplink and downlink needs independent", conflicting, report);
  report_agreement("values, and a choice of quantizers", choices, report);
  report_agreement("joining a running batch, measured steps", joining, report);
  const int wrong = channels.wrong + conflicting.wrong + choices.wrong + joining.wrong;
  report.holds = wrong == 0;
  report.summary =
      fmt::format("{} of {} random cases differ from exhaustive search", wrong, 4 * kCases);
  report.figures = {{"cases", 4.0 * kCases},
                    {"different", wrong},
                    {"published_tree_cases", channels.tree_cases + conflicting.tree_cases},
                    {"published_tree_different", channels.missed + conflicting.missed}};
  return report;
}

// --- R2: the search is short ------------------------------------------------------------------------------------

struct Work {
  double ours = 0.0;
  double tree = 0.0;     // as published, with its pruning
  double classes = 0.0;  // the same without pruning
  double sets = 0.0;     // feasible sets visited one by one; 0: not tried
};

Work measure_work(const NodeProblem& problem, bool with_sets) {
  const auto& cost = dynamic_cast<const schedule::FlopCost&>(*problem.cost);
  const Selection found = schedule::select_batch(problem.candidates, cost, problem.capacity,
                                                 {.max_nodes = 100'000'000});
  const auto tree = schedule::select_by_published_tree(problem.candidates, cost, problem.capacity);
  Work work;
  work.ours = static_cast<double>(found.nodes);
  work.tree = static_cast<double>(tree.nodes);
  work.classes = schedule::nodes_without_pruning(problem.candidates, cost,
                                                 static_cast<std::int64_t>(found.chosen.size()));
  if (with_sets) {
    work.sets = static_cast<double>(
        schedule::select_exhaustively(problem.candidates, cost, problem.capacity).nodes);
  }
  return work;
}

Result<ClaimReport> check_r2(const Scenario& scenario, const ClaimOptions& options) {
  ClaimReport report{.id = "R2",
                     .statement = "OT's search is more than 45 % shorter than brute force"};
  const ModelProfile& model = scenario.models.at(0);
  const Quantizer& quantizer =
      model.quantizers.at(std::min<std::size_t>(1, model.quantizers.size() - 1));
  const Node node = TRY(first_node(scenario, model.name, quantizer.name));
  Workload workload = scenario.workload;
  workload.least_accuracy = workload.most_accuracy = 0.0;
  report.lines.push_back(fmt::format(
      "{}, {} on {}; nodes of the search, means of {} draws; saved: of the tree without pruning",
      model.name, quantizer.name, node.profile.name, options.seeds));
  report.lines.push_back(fmt::format("{:>8} {:>10} {:>12} {:>16} {:>14} {:>12} {:>12}", "waiting",
                                     "OT here", "OT as publ.", "no pruning", "set by set",
                                     "saved, mean", "saved, least"));
  double worst = 1.0;
  double worst_tree = 1.0;
  const std::vector<std::size_t> sizes = {10, 20, 40, 80, 160};
  for (std::size_t s = 0; s < sizes.size(); ++s) {
    Random random(sizes[s]);
    Work total;
    double saved = 0.0;
    double least = 1.0;
    for (int draw = 0; draw < options.seeds; ++draw) {
      const Work work =
          measure_work(draw_problem(node, workload, sizes[s], 1.0, random), sizes[s] <= 20);
      total.ours += work.ours;
      total.tree += work.tree;
      total.classes += work.classes;
      total.sets += work.sets;
      const double brute = std::max(1.0, work.classes);
      saved += 1.0 - work.ours / brute;
      least = std::min(least, 1.0 - work.ours / brute);
      worst_tree = std::min(worst_tree, 1.0 - work.tree / brute);
    }
    worst = std::min(worst, least);
    const double n = options.seeds;
    report.lines.push_back(
        fmt::format("{:>8} {:>10.1f} {:>12.1f} {:>16.0f} {:>14} {:>11.2f}% {:>11.2f}%", sizes[s],
                    total.ours / n, total.tree / n, total.classes / n,
                    total.sets > 0.0 ? fmt::format("{:.0f}", total.sets / n) : "-",
                    100.0 * saved / n, 100.0 * least));
    report.figures.emplace_back(fmt::format("nodes_{}", sizes[s]), total.ours / n);
    report.figures.emplace_back(fmt::format("nodes_without_pruning_{}", sizes[s]),
                                total.classes / n);
    options.progress(static_cast<double>(s + 1) / static_cast<double>(sizes.size()));
  }
  report.holds = worst > 0.45;
  report.summary = fmt::format(
      "least saved over all draws: {:.1f} % here, {:.1f} % by the tree as published (claimed: 45 "
      "%)",
      100.0 * worst, 100.0 * worst_tree);
  report.figures.emplace_back("least_saved", worst);
  report.figures.emplace_back("least_saved_published_tree", worst_tree);
  return report;
}

// --- R3: more requests in time than by the baselines -------------------------------------------------------------

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

// --- R4: the assignment is worth half of the optimum at least ------------------------------------------------------

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

Result<ClaimReport> check_r4(const Scenario& scenario, const ClaimOptions& options) {
  ClaimReport report{
      .id = "R4",
      .statement = "GAH's assignment over several nodes is worth at least half of the optimum"};
  constexpr int kCases = 2000;
  const std::vector<Node> nodes =
      TRY(scenario.nodes_with(scenario.models.at(0).name, kAnyQuantizer));
  Workload workload = scenario.workload;
  Random random(4);
  Ratios plain;
  Ratios full;
  int above = 0;
  for (int i = 0; i < kCases; ++i) {
    const std::vector<NodeProblem> problems = draw_nodes(
        nodes, workload, 5, std::pow(10.0, random.uniform(-1.5, 1.0)), i % 2 == 0, random);
    const double optimum = schedule::assign_exhaustively(problems).value;
    const schedule::Assignment one = schedule::assign(
        problems, {.all_orders = false, .local_search = false, .bound_rounds = -1});
    const schedule::Assignment best = schedule::assign(problems);
    plain.add(one.value, optimum);
    full.add(best.value, optimum);
    above += one.value > optimum * (1.0 + kTolerance) ||
                     best.value > optimum * (1.0 + kTolerance) ||
                     best.upper_bound < optimum * (1.0 - kTolerance)
                 ? 1
                 : 0;
    options.progress(0.5 * static_cast<double>(i + 1) / kCases);
  }
  report.lines.push_back(fmt::format(
      "{} nodes, 5 requests, {} cases against exhaustive search:", nodes.size(), kCases));
  report.lines.push_back(
      fmt::format("  one order, no local search: least {:.4f}, mean {:.4f} of the optimum",
                  plain.least, plain.mean()));
  report.lines.push_back(fmt::format(
      "  as in the product:          least {:.4f}, mean {:.4f}; {} with a value above the "
      "optimum or a bound below it",
      full.least, full.mean(), above));
  Ratios large;
  for (int seed = 0; seed < options.seeds; ++seed) {
    const std::vector<NodeProblem> problems =
        draw_nodes(nodes, workload, 60, 1.0, seed % 2 == 0, random);
    const schedule::Assignment best = schedule::assign(problems, {.search = {.max_nodes = 20'000}});
    large.add(best.value, best.upper_bound);
    options.progress(0.5 + 0.5 * static_cast<double>(seed + 1) / options.seeds);
  }
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

}  // namespace

std::vector<std::string> claim_ids() {
  return {"R1", "R2", "R3", "R4"};
}

Result<ClaimReport> check_claim(std::string_view id,
                                const Scenario& scenario,
                                const ClaimOptions& options) {
  if (scenario.models.empty()) {
    return fail(ErrorCode::kInvalidArgument, "the claims need a profile with \"models\"");
  }
  if (id == "R1") {
    return check_r1(scenario, options);
  }
  if (id == "R2") {
    return check_r2(scenario, options);
  }
  if (id == "R3") {
    return check_r3(scenario, options);
  }
  if (id == "R4") {
    return check_r4(scenario, options);
  }
  return fail(ErrorCode::kInvalidArgument, "there is no claim {}; there are R1, R2, R3 and R4", id);
}

}  // namespace edgewise::simulate
