#include "simulate/sweep.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <set>
#include <tuple>

#include "simulate/simulator.h"

namespace edgewise::simulate {
namespace {

struct Setting {
  std::string model;  // as the table names it
  std::string quantizer;
  std::vector<Node> nodes;
  LatencyRange range;
  double rate_per_s = 0.0;
};

Result<std::vector<Setting>> settings_of(const Scenario& scenario, const SweepOptions& options) {
  const bool has_counted =
      std::any_of(scenario.nodes.begin(), scenario.nodes.end(),
                  [](const Node& node) { return node.profile.flops_per_s > 0.0; });
  std::vector<Setting> settings;
  for (const std::string& model : options.models) {
    for (const std::string& quantizer : options.quantizers) {
      const std::vector<Node> nodes = TRY(scenario.nodes_with(model, quantizer));
      for (const LatencyRange range : options.ranges) {
        for (const double rate : options.rates_per_s) {
          settings.push_back({has_counted ? model : scenario.name,
                              has_counted ? quantizer : "measured", nodes, range, rate});
        }
      }
    }
  }
  return settings;
}

Result<SweepRow> run_seeds(const Setting& setting,
                           const std::vector<Node>& nodes,
                           const std::vector<std::vector<Arrival>>& arrivals,
                           double duration_s,
                           const PolicyOptions& options) {
  SweepRow row{.model = setting.model,
               .quantizer = setting.quantizer,
               .range = setting.range,
               .rate_per_s = setting.rate_per_s,
               .policy = options.policy,
               .static_size = options.policy == Policy::kStatic ? options.static_size : 0,
               .per_second = {},
               .goodput = {}};
  double offered = 0.0;
  double in_time = 0.0;
  double late = 0.0;
  for (const std::vector<Arrival>& of_seed : arrivals) {
    const Outcome outcome = TRY(simulate(nodes, of_seed, options));
    row.per_second.push_back(static_cast<double>(outcome.in_time) / duration_s);
    offered += static_cast<double>(outcome.offered);
    in_time += static_cast<double>(outcome.in_time);
    late += static_cast<double>(outcome.late);
    row.decisions += outcome.decisions;
    row.cut_short += outcome.cut_short;
  }
  row.goodput = estimate(row.per_second);
  row.served_share = offered > 0.0 ? in_time / offered : 0.0;
  row.late_share = offered > 0.0 ? late / offered : 0.0;
  return row;
}

// All seeds' requests are held at once, about 150 bytes each.
Result<void> check_size(const Workload& workload, int seeds) {
  constexpr double kMostRequests = 2e6;
  const double expected = workload.rate_per_s * workload.duration_s * seeds;
  if (!(expected <= kMostRequests)) {  // also what is not a number
    return fail(
        ErrorCode::kInvalidArgument,
        "{:g} requests/s for {:g} s and {} seeds are more than {:g} requests; give less of one",
        workload.rate_per_s, workload.duration_s, seeds, kMostRequests);
  }
  return {};
}

}  // namespace

Result<std::vector<SweepRow>> sweep(const Scenario& scenario,
                                    const SweepOptions& options,
                                    const std::function<void(double)>& progress) {
  std::vector<SweepRow> rows;
  const std::vector<Setting> settings = TRY(settings_of(scenario, options));
  for (std::size_t s = 0; s < settings.size(); ++s) {
    const Setting& setting = settings[s];
    const std::vector<Node>& nodes = setting.nodes;
    Workload workload = scenario.workload;
    workload.rate_per_s = setting.rate_per_s;
    workload.least_deadline_s = setting.range.least_s;
    workload.most_deadline_s = setting.range.most_s;
    TRY_VOID(check_size(workload, options.seeds));
    std::vector<std::vector<Arrival>> arrivals;
    for (int seed = 1; seed <= options.seeds; ++seed) {
      arrivals.push_back(draw_arrivals(workload, nodes, static_cast<std::uint64_t>(seed)));
    }
    for (const Policy policy : options.policies) {
      const std::vector<std::int64_t> one = {1};
      std::vector<SweepRow> tried;
      for (const std::int64_t size : policy == Policy::kStatic ? options.static_sizes : one) {
        tried.push_back(
            TRY(run_seeds(setting, nodes, arrivals, workload.duration_s,
                          {.policy = policy, .static_size = size, .search = options.search})));
      }
      rows.push_back(*std::max_element(
          tried.begin(), tried.end(),
          [](const SweepRow& a, const SweepRow& b) { return a.goodput.mean < b.goodput.mean; }));
    }
    progress(static_cast<double>(s + 1) / static_cast<double>(settings.size()));
  }
  return rows;
}

std::string to_csv(const std::vector<SweepRow>& rows) {
  std::string csv =
      "model,quantizer,least_deadline_s,most_deadline_s,rate_per_s,policy,static_size,seeds,"
      "goodput_per_s,goodput_ci95,served_share,late_share,decisions,cut_short\n";
  for (const SweepRow& row : rows) {
    csv += fmt::format("{},{},{},{},{},{},{},{},{:.6g},{:.6g},{:.6g},{:.6g},{},{}\n", row.model,
                       row.quantizer, row.range.least_s, row.range.most_s, row.rate_per_s,
                       policy_name(row.policy), row.static_size, row.per_second.size(),
                       row.goodput.mean, row.goodput.half_width, row.served_share, row.late_share,
                       row.decisions, row.cut_short);
  }
  return csv;
}

std::vector<NamedPlot> to_plots(const std::vector<SweepRow>& rows) {
  std::set<double> rates;
  for (const SweepRow& row : rows) {
    rates.insert(row.rate_per_s);
  }
  const bool over_rates = rates.size() > 1;
  using Key = std::tuple<std::string, std::string, double, double>;
  std::map<Key, std::map<Policy, PlotSeries>> groups;
  for (const SweepRow& row : rows) {
    const Key key = {row.model, row.quantizer, over_rates ? row.range.least_s : row.rate_per_s,
                     over_rates ? row.range.most_s : 0.0};
    PlotSeries& series = groups[key][row.policy];
    series.label = policy_name(row.policy);
    series.points.push_back(
        {over_rates ? row.rate_per_s : row.range.most_s, row.goodput.mean, row.goodput.half_width});
  }
  std::vector<NamedPlot> plots;
  for (auto& [key, by_policy] : groups) {
    const auto& [model, quantizer, first, second] = key;
    NamedPlot named;
    named.name = over_rates ? fmt::format("rate-{}-{}-{:g}-{:g}s", model, quantizer, first, second)
                            : fmt::format("latency-{}-{}-{:g}per_s", model, quantizer, first);
    named.plot.title = over_rates ? fmt::format("{}, {}, deadlines {:g} to {:g} s", model,
                                                quantizer, first, second)
                                  : fmt::format("{}, {}, {:g} requests/s", model, quantizer, first);
    named.plot.x_label = over_rates ? "requests offered per second" : "longest deadline, seconds";
    named.plot.y_label = "requests answered in time per second";
    for (auto& [policy, series] : by_policy) {
      std::sort(series.points.begin(), series.points.end(),
                [](const PlotPoint& a, const PlotPoint& b) { return a.x < b.x; });
      named.plot.series.push_back(std::move(series));
    }
    plots.push_back(std::move(named));
  }
  return plots;
}

}  // namespace edgewise::simulate
