// Nodes, the variants of the model they hold, and waiting requests, as people describe them; and what the
// solvers make of these: candidates, a cost model and capacities.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "schedule/candidate.h"
#include "schedule/cost_model.h"
#include "schedule/flop_cost.h"
#include "schedule/link.h"
#include "schedule/step_cost.h"

namespace edgewise::schedule {

// Quality as the paper's accuracy f(dPPL), 0 to 1: how much a variant's measured perplexity exceeds that of the model as
// it was trained. The paper does not print f; this one is ours: exp(-kappa dPPL), 1 where nothing is lost.
double accuracy_of_perplexity(double perplexity, double reference, double kappa);

// One quantization of the model on one node.
struct Variant {
  std::string name = {};
  double accuracy = 1.0;  // 0 to 1, from measured quality; meets demands up to it
  double weight_bytes = 0.0;
  double kv_bytes_per_token = 0.0;
  bool is_loaded = true;     // else its weights take memory only once it is used
  double time_factor = 1.0;  // beta, on a node with flops_per_s
  StepCost step = {};        // on any other
};

struct NodeProfile {
  std::string name = {};
  double memory_bytes = kNever;  // for weights, keys and values
  std::int64_t max_requests = std::numeric_limits<std::int64_t>::max();
  std::vector<Variant> variants = {};

  // The paper's kind of node: batches with phases, counted in operations. 0: measured step costs instead.
  double flops_per_s = 0.0;
  ModelShape shape = {};
  std::int64_t padded_prompt = 0;  // see FlopCostOptions
  double upload_s = 0.0;
  double download_s = 0.0;
  double compute_s = kNever;

  // None: the constraint is off. Needs upload_s and download_s.
  std::optional<Radio> radio = std::nullopt;
};

struct Request {
  std::int64_t prompt_tokens = 1;
  std::int64_t cached_tokens = 0;
  std::int64_t output_tokens = 1;
  double deadline_s = kNever;  // from now
  double first_token_s = kNever;
  double min_accuracy = 0.0;
  double value = 1.0;
};

struct NodeProblem {
  std::vector<Candidate> candidates;
  std::unique_ptr<CostModel> cost;
  Capacity capacity;
};

// A candidate for each request i (its number is i) and each variant that meets its accuracy demand and that no other
// such variant beats in every respect. `gains[i]`: channel gain between request i's user and the node; none is needed
// without a radio. `start_s`: until then the node is busy.
NodeProblem make_node_problem(const NodeProfile& node,
                              std::span<const Request> requests,
                              std::span<const double> gains,
                              double start_s = 0.0,
                              std::vector<RunningSequence> running = {});

}  // namespace edgewise::schedule
