// Many simulations: every combination of model, quantizer, latency range and arrival rate, over several seeds, under
// each policy. All policies see the same arrivals.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "base/result.h"
#include "simulate/policy.h"
#include "simulate/scenario.h"
#include "simulate/statistics.h"
#include "simulate/svg_plot.h"

namespace edgewise::simulate {

struct LatencyRange {
  double least_s = 0.0;
  double most_s = 0.0;
};

struct SweepOptions {
  std::vector<std::string>
      models;  // each must be known to the scenario; measured nodes have their own
  std::vector<std::string> quantizers;  // names, or kAnyQuantizer
  std::vector<LatencyRange> ranges;
  std::vector<double> rates_per_s;
  std::vector<Policy> policies;
  std::vector<std::int64_t> static_sizes = {1,  2,  4, 8,
                                            16, 32, 64};  // the best one stands for kStatic
  int seeds = 20;
  schedule::SearchLimits search = {.max_nodes = 20'000};
};

// One policy in one setting.
struct SweepRow {
  std::string model;
  std::string quantizer;
  LatencyRange range;
  double rate_per_s = 0.0;
  Policy policy = Policy::kOtGah;
  std::int64_t static_size = 0;    // of kStatic: the best one
  std::vector<double> per_second;  // requests answered in time, of each seed
  Estimate goodput;                // of these
  double served_share = 0.0;       // of the offered ones, in time
  double late_share = 0.0;         // admitted and late
  std::int64_t decisions = 0;
  std::int64_t cut_short = 0;
};

// `progress` is told the finished share.
Result<std::vector<SweepRow>> sweep(const Scenario& scenario,
                                    const SweepOptions& options,
                                    const std::function<void(double)>& progress);

std::string to_csv(const std::vector<SweepRow>& rows);

// A plot for each model, quantizer and, over rates, latency range; with one rate, over the range's end instead.
struct NamedPlot {
  std::string name;  // for a file
  Plot plot;
};

std::vector<NamedPlot> to_plots(const std::vector<SweepRow>& rows);

}  // namespace edgewise::simulate
