#include "simulate/plan.h"

#include <chrono>
#include <memory>

#include "commands.h"
#include "input.h"
#include "json_writer.h"
#include "scenario_argument.h"
#include "terminal.h"

namespace edgewise::app {
namespace {

using simulate::Node;
using simulate::Plan;
using simulate::PlannedRequest;
using simulate::Service;

struct PlanOptions {
  std::string file;
  std::string profile = "paper";
  std::string model;
  std::string quantizer = std::string(simulate::kAnyQuantizer);
  std::optional<double> limit_ms;
  bool json = false;
};

struct Decided {
  std::vector<Node> nodes;
  std::vector<PlannedRequest> requests;
  Plan plan;
};

void print_request(const PlannedRequest& request, const Service& service, const Node* node) {
  if (node == nullptr) {
    write_out("{:<12} not served: {}\n", request.id, service.reason);
    return;
  }
  write_out("{:<12} {:<12} {:<10} answered at {:7.3f} s", request.id, node->profile.name,
            service.variant, service.last_token_s);
  if (request.request.deadline_s < schedule::kNever) {
    write_out(", deadline {:7.3f} s", request.request.deadline_s);
  }
  if (node->profile.radio) {
    write_out(", uplink {:.3f} %, downlink {:.3f} %", 100.0 * service.uplink,
              100.0 * service.downlink);
  }
  write_out("\n");
}

void print_for_people(const Decided& decided) {
  const Plan& plan = decided.plan;
  for (std::size_t i = 0; i < decided.requests.size(); ++i) {
    const Service& service = plan.services[i];
    print_request(
        decided.requests[i], service,
        service.node < 0 ? nullptr : &decided.nodes[static_cast<std::size_t>(service.node)]);
  }
  for (std::size_t e = 0; e < decided.nodes.size(); ++e) {
    const schedule::NodeProfile& profile = decided.nodes[e].profile;
    const simulate::NodeUse& use = plan.uses[e];
    write_out("node {}: {} requests, memory {} of {}, {}\n", profile.name, use.requests,
              human_bytes(use.memory_bytes), human_bytes(profile.memory_bytes),
              profile.radio ? fmt::format("uplink {:.1f} %, downlink {:.1f} % given away",
                                          100.0 * use.uplink, 100.0 * use.downlink)
                            : "no radio link: bandwidth is not constrained");
  }
  const schedule::Assignment& assignment = plan.assignment;
  const bool is_optimal = assignment.value >= assignment.upper_bound * (1.0 - 1e-9);
  write_out("value {:g}, no assignment exceeds {:g}: {}\n", assignment.value,
            assignment.upper_bound,
            is_optimal                 ? "optimal"
            : assignment.has_guarantee ? "at least half of the optimum"
                                       : "the search was cut short, without its guarantee");
}

void print_service(const PlannedRequest& request,
                   const Service& service,
                   const std::vector<Node>& nodes,
                   JsonWriter& json) {
  json.begin_object();
  json.field("id", request.id);
  json.field("served", service.node >= 0);
  if (service.node < 0) {
    json.field("reason", service.reason);
  } else {
    json.field("node", nodes[static_cast<std::size_t>(service.node)].profile.name);
    json.field("variant", service.variant);
    json.field("first_token_s", service.first_token_s);
    json.field("last_token_s", service.last_token_s);
    json.field("memory_bytes", service.memory_bytes);
    json.field("uplink_share", service.uplink);
    json.field("downlink_share", service.downlink);
  }
  json.end_object();
}

void print_as_json(const Decided& decided) {
  const schedule::Assignment& assignment = decided.plan.assignment;
  JsonWriter json;
  json.begin_object();
  json.field("value", assignment.value);
  json.field("upper_bound", assignment.upper_bound);
  json.field("value_before_local_search", assignment.greedy_value);
  json.field("has_guarantee", assignment.has_guarantee);
  json.field("search_nodes", assignment.nodes);
  json.key("requests");
  json.begin_array();
  for (std::size_t i = 0; i < decided.requests.size(); ++i) {
    print_service(decided.requests[i], decided.plan.services[i], decided.nodes, json);
  }
  json.end_array();
  json.key("nodes");
  json.begin_array();
  for (std::size_t e = 0; e < decided.nodes.size(); ++e) {
    const simulate::NodeUse& use = decided.plan.uses[e];
    json.begin_object();
    json.field("name", decided.nodes[e].profile.name);
    json.field("requests", use.requests);
    json.field("memory_bytes", use.memory_bytes);
    json.field("has_radio", decided.nodes[e].profile.radio.has_value());
    json.field("uplink_share", use.uplink);
    json.field("downlink_share", use.downlink);
    json.end_object();
  }
  json.end_array();
  json.end_object();
  json.print_line();
}

schedule::SearchLimits limits_of(const PlanOptions& options) {
  schedule::SearchLimits limits;
  if (options.limit_ms) {
    using Clock = std::chrono::steady_clock;
    const auto end =
        Clock::now() + std::chrono::duration_cast<Clock::duration>(
                           std::chrono::duration<double, std::milli>(*options.limit_ms));
    limits.out_of_time = [end] { return Clock::now() >= end; };
  }
  return limits;
}

Result<void> plan(const PlanOptions& options) {
  if (options.limit_ms && *options.limit_ms <= 0.0) {
    return fail(ErrorCode::kInvalidArgument, "--limit-ms is {}; give a positive number",
                *options.limit_ms);
  }
  const simulate::Scenario file = TRY(open_scenario(options.file));
  if (file.requests.empty()) {
    return fail(ErrorCode::kInvalidArgument, "{} has no \"requests\"", options.file);
  }
  const simulate::Scenario scenario =
      file.nodes.empty() ? TRY(open_scenario(options.profile)) : file;
  Decided decided;
  decided.nodes = TRY(scenario.nodes_with(
      options.model.empty() ? first_model(scenario) : options.model, options.quantizer));
  decided.requests =
      TRY(simulate::parse_requests(file.requests, decided.nodes, simulate::Arrivals::kTogether));
  decided.plan =
      simulate::make_plan(decided.nodes, decided.requests, {.search = limits_of(options)});
  if (options.json) {
    print_as_json(decided);
  } else {
    print_for_people(decided);
  }
  return {};
}

}  // namespace

Action define_plan(Command& command) {
  auto options = std::make_shared<PlanOptions>();
  command.argument("FILE", options->file,
                   "JSON with \"requests\", and with \"nodes\" unless --profile has them; - is "
                   "standard input",
                   true);
  command.option("--profile", options->profile, kProfileHelp);
  command.option("--model", options->model, "A model of the profile (default: its first)");
  command.option("--quantizer", options->quantizer,
                 "One quantizer for everyone; any (default): chosen per request by its accuracy "
                 "demand");
  command.option("--limit-ms", options->limit_ms,
                 "Stop searching after this time, with the best found and its bound");
  command.flag("--json", options->json, "Print JSON");
  command.notes(R"(
Decides once which node serves which request, with which quantization and which shares of its radio links: what is
worth most (each request its "value", 1 by default) within memory, deadlines, links and accuracy demands. The bound
says how much better any other assignment could be. Each request: "prompt_tokens", "output_tokens", and where wanted
"id", "deadline_s", "first_token_deadline_s", "min_accuracy" (0 to 1), "value", "cached_tokens", "gains" by node.

Examples:
  echo '{"requests": [{"prompt_tokens": 128, "output_tokens": 64, "deadline_s": 1.5, "min_accuracy": 0.6}]}' | edgewise plan -
  edgewise plan requests.json --profile nodes.json --json
)");
  return [options] { return plan(*options); };
}

}  // namespace edgewise::app
