#include <algorithm>
#include <charconv>
#include <filesystem>
#include <memory>

#include "commands.h"
#include "input.h"
#include "json_writer.h"
#include "output.h"
#include "scenario_argument.h"
#include "simulate/claims.h"
#include "simulate/simulator.h"
#include "simulate/sweep.h"
#include "terminal.h"

namespace edgewise::app {
namespace {

using simulate::LatencyRange;
using simulate::Policy;
using simulate::Scenario;
using simulate::SweepRow;

struct SimulateOptions {
  std::string profile = "paper";
  std::string claim;
  std::vector<std::string> models;
  std::vector<std::string> quantizers;
  std::vector<std::string> nodes;
  std::vector<std::string> rates;
  std::vector<std::string> ranges;
  std::vector<std::string> policies;
  int seeds = 20;
  std::optional<double> duration_s;
  std::string requests;
  std::string csv;
  std::string plots;
  bool json = false;
};

Result<double> parse_number(std::string_view option, std::string_view text) {
  double number = 0.0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc() || end != text.data() + text.size() || !(number > 0.0)) {
    return fail(ErrorCode::kInvalidArgument, "{} is {}; give positive numbers", option, text);
  }
  return number;
}

Result<std::vector<double>> parse_rates(const std::vector<std::string>& texts) {
  std::vector<double> rates;
  for (const std::string& text : texts) {
    for (std::size_t from = 0; from <= text.size();) {
      const std::size_t comma = std::min(text.find(',', from), text.size());
      rates.push_back(TRY(parse_number("--rate", text.substr(from, comma - from))));
      from = comma + 1;
    }
  }
  return rates;
}

Result<std::vector<LatencyRange>> parse_ranges(const std::vector<std::string>& texts) {
  std::vector<LatencyRange> ranges;
  for (const std::string& text : texts) {
    const std::size_t colon = text.find(':');
    if (colon == std::string::npos) {
      return fail(ErrorCode::kInvalidArgument, "--latency is {}; give LEAST:MOST seconds", text);
    }
    const LatencyRange range{TRY(parse_number("--latency", text.substr(0, colon))),
                             TRY(parse_number("--latency", text.substr(colon + 1)))};
    if (range.most_s < range.least_s) {
      return fail(ErrorCode::kInvalidArgument, "--latency is {}; the longest is the shorter one",
                  text);
    }
    ranges.push_back(range);
  }
  return ranges;
}

Result<std::vector<Policy>> parse_policies(const std::vector<std::string>& names,
                                           const Scenario& scenario) {
  std::vector<Policy> policies;
  for (const std::string& name : names) {
    const std::optional<Policy> policy = simulate::policy_named(name);
    if (!policy) {
      std::string known;
      for (const Policy its : simulate::all_policies()) {
        known += fmt::format("{}{}", known.empty() ? "" : ", ", simulate::policy_name(its));
      }
      return fail(ErrorCode::kInvalidArgument, "there is no policy {}; there are {}", name, known);
    }
    policies.push_back(*policy);
  }
  if (policies.empty()) {
    for (const Policy policy : simulate::all_policies()) {
      const bool has_counted =
          std::any_of(scenario.nodes.begin(), scenario.nodes.end(),
                      [](const simulate::Node& node) { return node.profile.flops_per_s > 0.0; });
      if (policy != Policy::kBruteForce && !(policy == Policy::kContinuous && has_counted)) {
        policies.push_back(policy);
      }
    }
  }
  return policies;
}

Result<void> keep_nodes(const std::vector<std::string>& names, Scenario& scenario) {
  std::vector<simulate::Node> kept;
  for (const std::string& name : names) {
    const auto node =
        std::find_if(scenario.nodes.begin(), scenario.nodes.end(),
                     [&](const simulate::Node& its) { return its.profile.name == name; });
    if (node == scenario.nodes.end()) {
      return fail(ErrorCode::kNotFound, "there is no node {} in {}", name, scenario.name);
    }
    kept.push_back(*node);
  }
  if (!kept.empty()) {
    scenario.nodes = std::move(kept);
  }
  return {};
}

Result<simulate::SweepOptions> sweep_options(const SimulateOptions& options,
                                             const Scenario& scenario) {
  simulate::SweepOptions sweep;
  sweep.models = options.models;
  if (sweep.models.empty()) {
    sweep.models = {first_model(scenario)};
  }
  sweep.quantizers = options.quantizers;
  if (sweep.quantizers.empty()) {
    sweep.quantizers = {std::string(simulate::kAnyQuantizer)};
  }
  const simulate::Workload& workload = scenario.workload;
  sweep.rates_per_s = options.rates.empty() ? std::vector<double>{workload.rate_per_s}
                                            : TRY(parse_rates(options.rates));
  sweep.ranges =
      options.ranges.empty()
          ? std::vector<LatencyRange>{{workload.least_deadline_s, workload.most_deadline_s}}
          : TRY(parse_ranges(options.ranges));
  sweep.policies = TRY(parse_policies(options.policies, scenario));
  sweep.seeds = options.seeds;
  return sweep;
}

Result<void> write_plots(const std::string& folder, const std::vector<SweepRow>& rows) {
  std::error_code error;
  std::filesystem::create_directories(folder, error);
  for (const simulate::NamedPlot& plot : simulate::to_plots(rows)) {
    TRY_VOID(write_text(std::filesystem::path(folder) / (plot.name + ".svg"),
                        simulate::to_svg(plot.plot)));
  }
  return {};
}

void print_row(const SweepRow& row, JsonWriter& json) {
  json.begin_object();
  json.field("model", row.model);
  json.field("quantizer", row.quantizer);
  json.field("least_deadline_s", row.range.least_s);
  json.field("most_deadline_s", row.range.most_s);
  json.field("rate_per_s", row.rate_per_s);
  json.field("policy", simulate::policy_name(row.policy));
  json.field("goodput_per_s", row.goodput.mean);
  json.field("goodput_ci95", row.goodput.half_width);
  json.field("served_share", row.served_share);
  json.field("late_share", row.late_share);
  json.field("seeds", std::ssize(row.per_second));
  json.field("decisions", row.decisions);
  json.field("cut_short", row.cut_short);
  json.end_object();
}

void print_rows(const std::vector<SweepRow>& rows, bool as_json) {
  if (as_json) {
    JsonWriter json;
    json.begin_array();
    for (const SweepRow& row : rows) {
      print_row(row, json);
    }
    json.end_array();
    json.print_line();
    return;
  }
  write_out("{:<12} {:<8} {:>11} {:>8} {:<16} {:>18} {:>8} {:>7}\n", "model", "quant.",
            "deadline s", "offered/s", "policy", "in time/s", "served", "late");
  for (const SweepRow& row : rows) {
    write_out("{:<12} {:<8} {:>11} {:>8g} {:<16} {:>10.3f} +-{:>6.3f} {:>7.1f}% {:>6.1f}%\n",
              row.model, row.quantizer,
              fmt::format("{:g} to {:g}", row.range.least_s, row.range.most_s), row.rate_per_s,
              row.static_size > 0 ? fmt::format("static of {}", row.static_size)
                                  : std::string(simulate::policy_name(row.policy)),
              row.goodput.mean, row.goodput.half_width, 100.0 * row.served_share,
              100.0 * row.late_share);
  }
}

void print_claim(const simulate::ClaimReport& report, bool as_json) {
  if (as_json) {
    JsonWriter json;
    json.begin_object();
    json.field("claim", report.id);
    json.field("statement", report.statement);
    json.field("holds", report.holds);
    json.field("summary", report.summary);
    json.key("figures");
    json.begin_object();
    for (const auto& [name, figure] : report.figures) {
      json.field(name, figure);
    }
    json.end_object();
    json.end_object();
    json.print_line();
    return;
  }
  write_out("{}: {}\n", report.id, report.statement);
  for (const std::string& line : report.lines) {
    write_out("{}\n", line);
  }
  write_out("{} {}: {}\n", report.id, report.holds ? "holds" : "does not hold", report.summary);
}

Result<void> check(const SimulateOptions& options, const Scenario& scenario) {
  ProgressLine progress("checking");
  simulate::ClaimOptions claim;
  claim.seeds = options.seeds;
  claim.duration_s = options.duration_s.value_or(claim.duration_s);
  claim.progress = [&](double share) { progress.show_fraction(share); };
  const simulate::ClaimReport report = TRY(simulate::check_claim(options.claim, scenario, claim));
  progress.clear();
  print_claim(report, options.json);
  return {};
}

Result<std::vector<simulate::Arrival>> read_arrivals(const std::string& path,
                                                     const Scenario& scenario) {
  auto requests =
      simulate::parse_requests(TRY(read_text(path)), scenario.nodes, simulate::Arrivals::kApart);
  if (!requests) {
    return wrap(std::move(requests).error(), path);
  }
  std::vector<simulate::Arrival> arrivals;
  for (const simulate::PlannedRequest& planned : *requests) {
    arrivals.push_back({planned.arrival_s, planned.request, planned.gains});
  }
  std::stable_sort(arrivals.begin(), arrivals.end(),
                   [](const auto& a, const auto& b) { return a.time_s < b.time_s; });
  return arrivals;
}

void print_outcomes(const std::vector<std::pair<Policy, simulate::Outcome>>& outcomes,
                    bool as_json) {
  if (as_json) {
    JsonWriter json;
    json.begin_array();
    for (const auto& [policy, outcome] : outcomes) {
      json.begin_object();
      json.field("policy", simulate::policy_name(policy));
      json.field("offered", outcome.offered);
      json.field("in_time", outcome.in_time);
      json.field("late", outcome.late);
      json.field("end_s", outcome.end_s);
      json.end_object();
    }
    json.end_array();
    json.print_line();
    return;
  }
  write_out("{:<16} {:>8} {:>8} {:>6}\n", "policy", "offered", "in time", "late");
  for (const auto& [policy, outcome] : outcomes) {
    write_out("{:<16} {:>8} {:>8} {:>6}\n", simulate::policy_name(policy), outcome.offered,
              outcome.in_time, outcome.late);
  }
}

// One run of each policy over the requests of a file.
Result<void> simulate_list(const SimulateOptions& options, const Scenario& scenario) {
  const simulate::SweepOptions sweep = TRY(sweep_options(options, scenario));
  const std::vector<simulate::Node> nodes =
      TRY(scenario.nodes_with(sweep.models.front(), sweep.quantizers.front()));
  const std::vector<simulate::Arrival> arrivals = TRY(read_arrivals(options.requests, scenario));
  std::vector<std::pair<Policy, simulate::Outcome>> outcomes;
  for (const Policy policy : sweep.policies) {
    outcomes.emplace_back(policy, TRY(simulate::simulate(nodes, arrivals, {.policy = policy})));
  }
  print_outcomes(outcomes, options.json);
  return {};
}

Result<void> simulate_all(const SimulateOptions& options) {
  if (options.seeds < 1 || options.seeds > 10'000) {
    return fail(ErrorCode::kInvalidArgument, "--seeds is {}; give 1 to 10000", options.seeds);
  }
  if (options.duration_s && *options.duration_s <= 0.0) {
    return fail(ErrorCode::kInvalidArgument, "--seconds is {}; give a positive number",
                *options.duration_s);
  }
  Scenario scenario = TRY(open_scenario(options.profile));
  TRY_VOID(keep_nodes(options.nodes, scenario));
  if (!options.claim.empty()) {
    return check(options, scenario);
  }
  if (!options.requests.empty()) {
    return simulate_list(options, scenario);
  }
  if (scenario.nodes.empty() || scenario.workload.prompt_tokens.empty()) {
    return fail(ErrorCode::kInvalidArgument, "{} needs \"nodes\" and a \"workload\"",
                options.profile);
  }
  scenario.workload.duration_s = options.duration_s.value_or(scenario.workload.duration_s);
  const simulate::SweepOptions sweep = TRY(sweep_options(options, scenario));
  if (!options.csv.empty()) {
    TRY_VOID(check_writable(options.csv));
  }
  ProgressLine progress("simulating");
  const std::vector<SweepRow> rows =
      TRY(simulate::sweep(scenario, sweep, [&](double share) { progress.show_fraction(share); }));
  progress.clear();
  if (!options.csv.empty()) {
    TRY_VOID(write_text(options.csv, simulate::to_csv(rows)));
  }
  if (!options.plots.empty()) {
    TRY_VOID(write_plots(options.plots, rows));
  }
  print_rows(rows, options.json);
  return {};
}

}  // namespace

Action define_simulate(Command& command) {
  auto options = std::make_shared<SimulateOptions>();
  command.argument("PROFILE", options->profile, kProfileHelp, false);
  command.option("--claim", options->claim,
                 "Check a claim of the scheduling paper: R1, R2, R3 or R4; the last line says "
                 "whether it holds");
  command.option("--model", options->models, "Models of the profile (default: its first)");
  command.option("--quantizer", options->quantizers,
                 "Quantizers; any (default): chosen per request by its accuracy demand");
  command.option("--node", options->nodes, "Nodes of the profile (default: all)");
  command.option("--rate", options->rates, "Requests per second, one or more with commas");
  command.option("--latency", options->ranges, "Ranges of deadlines in seconds, LEAST:MOST");
  command.option("--policy", options->policies, "Policies (default: all that can run)");
  command.option("--seeds", options->seeds, "Runs of each setting (default: 20)");
  command.option("--seconds", options->duration_s, "Length of each run on the virtual clock");
  command.option(
      "--requests", options->requests,
      "Run the requests of this file once, instead of random ones: a list as `edgewise plan` takes "
      "it, each with \"arrival_s\"");
  command.option("--csv", options->csv, "Write the figures to this file");
  command.option("--plots", options->plots, "Write SVG plots into this folder");
  command.flag("--json", options->json, "Print JSON");
  command.notes(R"(
Runs random requests through the nodes of a profile on a virtual clock, every policy on the same ones. The same
options give the same figures. Intervals are 95 % over the seeds. "late" were admitted and missed their deadline.

Policies: ot-gah (as the product decides), brute-force (at most 16 waiting), greedy-arrival, greedy-slack,
greedy-shortest, static (at its best size), no-batching, continuous-fcfs (nodes with measured steps).

A claim that does not hold says so on the last line and in "holds" of --json; the exit code is 0 either way.

Examples:
  edgewise simulate --claim R1
  edgewise simulate --node server --rate 5,25,50,100,250 --model bloom-3b --model opt-13b --csv out.csv --plots plots
  edgewise simulate gateway --rate 0.2,0.5,1 --seeds 5
  edgewise profile smollm2 --output here.json && edgewise simulate here.json --requests trace.json --policy ot-gah
)");
  return [options] { return simulate_all(*options); };
}

}  // namespace edgewise::app
