// One check for each claim (claims.h). Internal to simulate/.
#pragma once

#include "simulate/claims.h"

namespace edgewise::simulate {

Result<ClaimReport> check_r1(const Scenario& scenario, const ClaimOptions& options);
Result<ClaimReport> check_r2(const Scenario& scenario, const ClaimOptions& options);
Result<ClaimReport> check_r3(const Scenario& scenario, const ClaimOptions& options);
Result<ClaimReport> check_r4(const Scenario& scenario, const ClaimOptions& options);

// The first node of the scenario, serving one model. Fails where it has no "flops_per_s".
Result<Node> first_counted_node(const Scenario& scenario,
                                std::string_view model,
                                std::string_view quantizer);

}  // namespace edgewise::simulate
