// The profile that `plan` and `simulate` name: a built-in one or a file.
#pragma once

#include <string>

#include "base/result.h"
#include "simulate/scenario.h"

namespace edgewise::app {

inline constexpr const char* kProfileHelp =
    "A built-in profile (paper, gateway) or a JSON file (docs/scheduling.md lists its fields)";

Result<simulate::Scenario> open_scenario(const std::string& name);

// The first model and quantizer of a profile stand for options that were not given.
std::string first_model(const simulate::Scenario& scenario);

}  // namespace edgewise::app
