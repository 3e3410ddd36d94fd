// R2: the search is short.
#include <fmt/format.h>

#include <algorithm>

#include "schedule/exhaustive.h"
#include "schedule/published_tree.h"
#include "schedule/select_batch.h"
#include "simulate/claim_cases.h"
#include "simulate/claim_checks.h"

namespace edgewise::simulate {
namespace {

using schedule::NodeProblem;
using schedule::Selection;

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

}  // namespace

Result<ClaimReport> check_r2(const Scenario& scenario, const ClaimOptions& options) {
  ClaimReport report{.id = "R2",
                     .statement = "OT's search is more than 45 % shorter than brute force"};
  const ModelProfile& model = scenario.models.at(0);
  const Quantizer& quantizer =
      model.quantizers.at(std::min<std::size_t>(1, model.quantizers.size() - 1));
  const Node node = TRY(first_counted_node(scenario, model.name, quantizer.name));
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

}  // namespace edgewise::simulate
