// R1: the selection is optimal.
#include <fmt/format.h>

#include <cmath>

#include "schedule/exhaustive.h"
#include "schedule/published_tree.h"
#include "schedule/select_batch.h"
#include "simulate/claim_cases.h"
#include "simulate/claim_checks.h"

namespace edgewise::simulate {
namespace {

using schedule::NodeProblem;
using schedule::Selection;

constexpr double kTolerance = 1e-7;  // of sums in another order

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

}  // namespace

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
    const Node node = TRY(first_counted_node(scenario, model.name, quantizer.name));
    const double load = std::pow(10.0, random.uniform(0.0, 4.0));
    compare(draw_problem(node, scenario.workload, 12, load, random), true, channels);
    NodeProblem redrawn = draw_problem(node, scenario.workload, 12, 1.0, random);
    redraw_links(redrawn, 0.4, random);
    compare(redrawn, true, conflicting);
    const Node free = TRY(first_counted_node(scenario, model.name, kAnyQuantizer));
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

}  // namespace edgewise::simulate
