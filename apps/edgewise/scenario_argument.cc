#include "scenario_argument.h"

#include <algorithm>

#include "input.h"

namespace edgewise::app {

Result<simulate::Scenario> open_scenario(const std::string& name) {
  const std::vector<std::string> builtin = simulate::builtin_scenarios();
  if (std::find(builtin.begin(), builtin.end(), name) != builtin.end()) {
    return simulate::builtin_scenario(name);
  }
  auto scenario = simulate::parse_scenario(TRY(read_text(name)));
  if (!scenario) {
    return wrap(std::move(scenario).error(), name);
  }
  return scenario;
}

std::string first_model(const simulate::Scenario& scenario) {
  return scenario.models.empty() ? "" : scenario.models.front().name;
}

}  // namespace edgewise::app
