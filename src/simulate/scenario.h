// What is simulated, as a file describes it: models and their quantizers, nodes and their channels, the workload.
// docs/scheduling.md lists the fields of the file.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "schedule/node.h"

namespace edgewise::simulate {

// gain = path_gain / distance_m^exponent, times an exponential with mean 1 where fading is Rayleigh's.
struct Channel {
  double path_gain = 1.0;
  double exponent = 0.0;
  double least_distance_m = 1.0;  // users are spread evenly over the distance
  double most_distance_m = 1.0;
  bool has_rayleigh_fading = false;
};

struct Quantizer {
  std::string name;
  double memory_factor = 1.0;  // alpha: of weights and of keys and values, over 16 bits
  double time_factor = 1.0;    // beta
  double perplexity = 0.0;     // measured, of the model that it belongs to
};

struct ModelProfile {
  std::string name;
  schedule::ModelShape shape;
  double reference_perplexity = 0.0;  // as trained
  std::vector<Quantizer> quantizers;
};

struct Node {
  schedule::NodeProfile
      profile;  // variants: of nodes with measured steps only, see Scenario::nodes_with()
  Channel channel;
  std::int64_t accelerators = 1;  // that flops_per_s is the sum of
  double epoch_s = 0.0;           // decides at its multiples only; 0: whenever it is free
};

struct Workload {
  double rate_per_s = 1.0;  // of a Poisson process
  double duration_s = 20.0;
  std::vector<std::int64_t> prompt_tokens;  // each as likely as the next
  std::vector<std::int64_t> output_tokens;
  double least_deadline_s = 1.0;  // uniform, from arrival to the last token
  double most_deadline_s = 1.0;
  double least_accuracy = 0.0;  // uniform
  double most_accuracy = 0.0;
};

struct Scenario {
  std::string name;
  double accuracy_kappa = 1.0;  // see schedule::accuracy_of_perplexity()
  std::vector<ModelProfile> models;
  std::vector<Node> nodes;
  Workload workload;
  std::string requests;  // JSON text of the file's own list, for `plan`; empty: none

  // The nodes as they serve one model: with one quantizer, or with all of them to choose from per request (kAnyQuantizer;
  // then weights take memory once they are used). Nodes with measured steps have their variants already:
  // of these no quantizer can be chosen, and the model is "" where the scenario names none.
  Result<std::vector<Node>> nodes_with(std::string_view model, std::string_view quantizer) const;
};

inline constexpr std::string_view kAnyQuantizer = "any";

Result<Scenario> parse_scenario(std::string_view json);

// The profiles that come with the program: "paper", "gateway".
std::vector<std::string> builtin_scenarios();
Result<Scenario> builtin_scenario(std::string_view name);

// One request of a list, with the channel gains to the scenario's nodes (1 where the list gives none).
struct PlannedRequest {
  std::string id;
  double arrival_s = 0.0;
  schedule::Request request;
  std::vector<double> gains;
};

// Whether requests may say when they arrive. Where everyone is there from the beginning, "arrival_s" is an error.
enum class Arrivals { kTogether, kApart };

Result<std::vector<PlannedRequest>> parse_requests(std::string_view json,
                                                   const std::vector<Node>& nodes,
                                                   Arrivals arrivals);

}  // namespace edgewise::simulate
