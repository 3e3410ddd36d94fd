// The claims of the OT-GAH paper, each checked by computing it anew. A claim that does not hold is reported as such:
// nothing here is fitted to an outcome.
#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/result.h"
#include "simulate/scenario.h"

namespace edgewise::simulate {

struct ClaimReport {
  std::string id;
  std::string statement;
  bool holds = false;
  std::string summary = {};                                  // the figures behind the verdict
  std::vector<std::string> lines = {};                       // details for people
  std::vector<std::pair<std::string, double>> figures = {};  // for programs
};

struct ClaimOptions {
  int seeds = 20;
  double duration_s = 20.0;                                 // of each simulation, of R3
  std::vector<double> rates_per_s = {5, 25, 50, 100, 250};  // likewise
  std::function<void(double)> progress = [](double) {};
};

std::vector<std::string> claim_ids();

// `scenario` needs counted nodes and models, as the built-in "paper" has them.
Result<ClaimReport> check_claim(std::string_view id,
                                const Scenario& scenario,
                                const ClaimOptions& options);

}  // namespace edgewise::simulate
