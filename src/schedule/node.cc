#include "schedule/node.h"

#include <algorithm>
#include <cmath>

#include "base/check.h"

namespace edgewise::schedule {
namespace {

bool costs_no_more(const StepCost& a, const StepCost& b) {
  return a.launch_s <= b.launch_s && a.weights_s <= b.weights_s && a.row_s <= b.row_s &&
         a.position_s <= b.position_s && a.prompt_token_s <= b.prompt_token_s &&
         a.prompt_pair_s <= b.prompt_pair_s && a.chunk_tokens >= b.chunk_tokens;
}

// Whether whoever may use both never needs `b`. Only between loaded ones: what loading pays for depends on the set.
bool beats(const Variant& a, const Variant& b, bool first_of_equals) {
  const bool no_worse = a.is_loaded && b.is_loaded &&
                        a.kv_bytes_per_token <= b.kv_bytes_per_token &&
                        a.time_factor <= b.time_factor && costs_no_more(a.step, b.step);
  const bool same = no_worse && a.kv_bytes_per_token == b.kv_bytes_per_token &&
                    a.time_factor == b.time_factor && costs_no_more(b.step, a.step);
  return no_worse && (!same || first_of_equals);
}

// Indices of the variants that a request with this demand may be served with.
std::vector<std::size_t> admissible(const std::vector<Variant>& variants, double min_accuracy) {
  std::vector<std::size_t> good;
  for (std::size_t v = 0; v < variants.size(); ++v) {
    if (variants[v].accuracy >= min_accuracy) {
      good.push_back(v);
    }
  }
  std::vector<std::size_t> best;
  for (const std::size_t v : good) {
    const bool is_beaten = std::any_of(good.begin(), good.end(), [&](std::size_t other) {
      return other != v && beats(variants[other], variants[v], other < v);
    });
    if (!is_beaten) {
      best.push_back(v);
    }
  }
  return best;
}

std::unique_ptr<CostModel> make_cost(const NodeProfile& node,
                                     double start_s,
                                     std::vector<RunningSequence> running) {
  if (node.flops_per_s > 0.0) {
    FlopCostOptions options{.shape = node.shape,
                            .flops_per_s = node.flops_per_s,
                            .time_factors = {},
                            .padded_prompt = node.padded_prompt,
                            .upload_s = node.upload_s,
                            .download_s = node.download_s,
                            .compute_s = node.compute_s,
                            .start_s = start_s};
    for (const Variant& variant : node.variants) {
      options.time_factors.push_back(variant.time_factor);
    }
    return std::make_unique<FlopCost>(std::move(options));
  }
  std::vector<StepCost> steps;
  for (const Variant& variant : node.variants) {
    steps.push_back(variant.step);
  }
  return std::make_unique<StepCostModel>(std::move(steps), std::move(running), start_s);
}

Capacity make_capacity(const NodeProfile& node) {
  Capacity capacity{.memory_bytes = node.memory_bytes, .count = node.max_requests};
  for (const Variant& variant : node.variants) {
    capacity.variant_bytes.push_back(variant.is_loaded ? 0.0 : variant.weight_bytes);
    capacity.memory_bytes -= variant.is_loaded ? variant.weight_bytes : 0.0;
  }
  return capacity;
}

}  // namespace

double accuracy_of_perplexity(double perplexity, double reference, double kappa) {
  return std::exp(-kappa * std::max(0.0, perplexity - reference));
}

NodeProblem make_node_problem(const NodeProfile& node,
                              std::span<const Request> requests,
                              std::span<const double> gains,
                              double start_s,
                              std::vector<RunningSequence> running) {
  CHECK(!node.radio || gains.size() == requests.size(), "{} has a radio but no gains", node.name);
  NodeProblem problem{.candidates = {},
                      .cost = make_cost(node, start_s, std::move(running)),
                      .capacity = make_capacity(node)};
  for (std::size_t i = 0; i < requests.size(); ++i) {
    const Request& request = requests[i];
    Candidate candidate{.request = static_cast<std::int32_t>(i),
                        .value = request.value,
                        .prompt_tokens = request.prompt_tokens,
                        .cached_tokens = request.cached_tokens,
                        .output_tokens = request.output_tokens,
                        .deadline_s = request.deadline_s,
                        .first_token_s = request.first_token_s};
    if (node.radio) {
      candidate.uplink = uplink_share(*node.radio, gains[i], request.prompt_tokens, node.upload_s);
      candidate.downlink =
          downlink_share(*node.radio, gains[i], request.output_tokens, node.download_s);
    }
    const std::int64_t prompt = node.padded_prompt > 0 ? node.padded_prompt : request.prompt_tokens;
    for (const std::size_t v : admissible(node.variants, request.min_accuracy)) {
      candidate.variant = static_cast<std::int32_t>(v);
      candidate.memory_bytes =
          node.variants[v].kv_bytes_per_token * static_cast<double>(prompt + request.output_tokens);
      problem.candidates.push_back(candidate);
    }
  }
  return problem;
}

}  // namespace edgewise::schedule
