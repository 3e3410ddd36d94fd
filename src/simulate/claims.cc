#include "simulate/claims.h"

#include "simulate/claim_checks.h"

namespace edgewise::simulate {

Result<Node> first_counted_node(const Scenario& scenario,
                                std::string_view model,
                                std::string_view quantizer) {
  const std::vector<Node> nodes = TRY(scenario.nodes_with(model, quantizer));
  if (nodes.empty() || nodes[0].profile.flops_per_s <= 0.0) {
    return fail(ErrorCode::kInvalidArgument, "the claims are about a node with \"flops_per_s\"");
  }
  return nodes[0];
}

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
