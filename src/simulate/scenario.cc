#include "simulate/scenario.h"

#include <algorithm>
#include <utility>

#include "simulate/json_fields.h"
#include "simulate/profiles.h"

namespace edgewise::simulate {
namespace {

Result<ModelProfile> read_model(JsonFields& fields) {
  ModelProfile model;
  model.name = TRY(fields.text("name"));
  model.shape.layers = TRY(fields.integer("layers", 1));
  model.shape.width = TRY(fields.integer("width", 1));
  model.shape.feed_forward = TRY(fields.integer("feed_forward", 1));
  model.reference_perplexity = TRY(fields.number("reference_perplexity", 1.0));
  for (JsonFields& its : TRY(fields.objects("quantizers"))) {
    Quantizer quantizer;
    quantizer.name = TRY(its.text("name"));
    quantizer.memory_factor = TRY(its.number("memory_factor", 1e-3));
    quantizer.time_factor = TRY(its.number("time_factor", 1e-3));
    quantizer.perplexity = TRY(its.number("perplexity", 1.0));
    TRY_VOID(its.expect_no_others());
    model.quantizers.push_back(std::move(quantizer));
  }
  TRY_VOID(fields.expect_no_others());
  return model;
}

Result<schedule::Radio> read_radio(JsonFields fields) {
  schedule::Radio radio;
  radio.uplink_hz = TRY(fields.number("uplink_hz", 1.0));
  radio.downlink_hz = TRY(fields.number("downlink_hz", 1.0));
  radio.user_power_w = schedule::watts_of_dbm(TRY(fields.number("user_dbm", -1000.0)));
  radio.node_power_w = schedule::watts_of_dbm(TRY(fields.number("node_dbm", -1000.0)));
  radio.noise_w_per_hz = schedule::watts_of_dbm(TRY(fields.number("noise_dbm_per_hz", -1000.0)));
  radio.bits_per_token = TRY(fields.number_or("bits_per_token", 32.0, 1.0));
  TRY_VOID(fields.expect_no_others());
  return radio;
}

Result<Channel> read_channel(JsonFields fields) {
  Channel channel;
  channel.path_gain = TRY(fields.number("path_gain", 0.0));
  channel.exponent = TRY(fields.number_or("exponent", 0.0, 0.0));
  if (fields.has("distance_m")) {
    const std::vector<double> range = TRY(fields.pair("distance_m", 1e-3));
    channel.least_distance_m = range[0];
    channel.most_distance_m = range[1];
  }
  const std::string fading = TRY(fields.text_or("fading", "none"));
  if (fading != "none" && fading != "rayleigh") {
    return fail(ErrorCode::kInvalidArgument, "{}: \"fading\" is {}, not none or rayleigh",
                fields.where(), fading);
  }
  channel.has_rayleigh_fading = fading == "rayleigh";
  TRY_VOID(fields.expect_no_others());
  return channel;
}

Result<schedule::StepCost> read_step(JsonFields fields) {
  schedule::StepCost step;
  step.launch_s = TRY(fields.number("launch_s", 0.0));
  step.weights_s = TRY(fields.number("weights_s", 0.0));
  step.row_s = TRY(fields.number("row_s", 0.0));
  step.position_s = TRY(fields.number("position_s", 0.0));
  step.prompt_token_s = TRY(fields.number("prompt_token_s", 0.0));
  step.prompt_pair_s = TRY(fields.number("prompt_pair_s", 0.0));
  step.chunk_tokens = TRY(fields.integer_or("chunk_tokens", 512, 1));
  step.most_stall = TRY(fields.number_or("most_stall", 0.0, 0.0));
  step.least_stall = TRY(fields.number_or("least_stall", step.most_stall, 0.0));
  if (step.most_stall != 0.0 && !(step.least_stall >= 1.0 && step.least_stall <= step.most_stall)) {
    return fail(ErrorCode::kInvalidArgument,
                "a step's \"least_stall\" has to be from 1 to its \"most_stall\"");
  }
  TRY_VOID(fields.expect_no_others());
  return step;
}

Result<schedule::Variant> read_variant(JsonFields& fields, double kappa) {
  schedule::Variant variant;
  variant.name = TRY(fields.text("name"));
  const double perplexity = TRY(fields.number("perplexity", 1.0));
  const double reference = TRY(fields.number("reference_perplexity", 1.0));
  variant.accuracy = schedule::accuracy_of_perplexity(perplexity, reference, kappa);
  variant.weight_bytes = TRY(fields.number("weight_bytes", 0.0));
  variant.kv_bytes_per_token = TRY(fields.number("kv_bytes_per_token", 0.0));
  variant.step = TRY(read_step(TRY(fields.object("step"))));
  TRY_VOID(fields.expect_no_others());
  return variant;
}

Result<Node> read_node(JsonFields& fields, double kappa) {
  Node node;
  schedule::NodeProfile& profile = node.profile;
  profile.name = TRY(fields.text("name"));
  profile.memory_bytes = TRY(fields.number("memory_bytes", 0.0));
  profile.max_requests = TRY(fields.integer_or("max_requests", profile.max_requests, 1));
  profile.flops_per_s = TRY(fields.number_or("flops_per_s", 0.0, 0.0));
  node.accelerators = TRY(fields.integer_or("accelerators", 1, 1));
  node.epoch_s = TRY(fields.number_or("epoch_s", 0.0, 0.0));
  profile.padded_prompt = TRY(fields.integer_or("padded_prompt", 0, 0));
  profile.upload_s = TRY(fields.number_or("upload_s", 0.0, 0.0));
  profile.download_s = TRY(fields.number_or("download_s", 0.0, 0.0));
  profile.compute_s = TRY(fields.number_or("compute_s", schedule::kNever, 0.0));
  if (fields.has("radio")) {
    profile.radio = TRY(read_radio(TRY(fields.object("radio"))));
    node.channel = TRY(read_channel(TRY(fields.object("channel"))));
  }
  for (JsonFields& variant : TRY(fields.objects("variants"))) {
    profile.variants.push_back(TRY(read_variant(variant, kappa)));
  }
  TRY_VOID(fields.expect_no_others());
  if ((profile.flops_per_s > 0.0) != profile.variants.empty()) {
    return fail(ErrorCode::kInvalidArgument,
                "{} needs either \"flops_per_s\" or \"variants\" with measured steps",
                fields.where());
  }
  if (profile.radio && (profile.upload_s <= 0.0 || profile.download_s <= 0.0)) {
    return fail(ErrorCode::kInvalidArgument,
                "{} has a radio, so it needs \"upload_s\" and \"download_s\"", fields.where());
  }
  return node;
}

Result<Workload> read_workload(JsonFields fields) {
  Workload workload;
  workload.rate_per_s = TRY(fields.number("rate_per_s", 0.0));
  workload.duration_s = TRY(fields.number("duration_s", 0.0));
  workload.prompt_tokens = TRY(fields.integers("prompt_tokens", 1));
  workload.output_tokens = TRY(fields.integers("output_tokens", 1));
  const std::vector<double> deadline = TRY(fields.pair("deadline_s", 0.0));
  workload.least_deadline_s = deadline[0];
  workload.most_deadline_s = deadline[1];
  const std::vector<double> accuracy = TRY(fields.pair("min_accuracy", 0.0));
  workload.least_accuracy = accuracy[0];
  workload.most_accuracy = accuracy[1];
  TRY_VOID(fields.expect_no_others());
  return workload;
}

Result<std::vector<double>> read_gains(JsonFields& fields, const std::vector<Node>& nodes) {
  std::vector<double> gains(nodes.size(), 1.0);
  if (!fields.has("gains")) {
    return gains;
  }
  JsonFields its = TRY(fields.object("gains"));
  for (std::size_t e = 0; e < nodes.size(); ++e) {
    gains[e] = TRY(its.number_or(nodes[e].profile.name, 1.0, 0.0));
  }
  TRY_VOID(its.expect_no_others());
  return gains;
}

}  // namespace

Result<Scenario> parse_scenario(std::string_view text) {
  const boost::json::value parsed = TRY(parse_json(text));
  JsonFields fields = TRY(JsonFields::of(parsed, "the file"));
  Scenario scenario;
  scenario.name = TRY(fields.text_or("name", "unnamed"));
  scenario.accuracy_kappa = TRY(fields.number_or("accuracy_kappa", 1.0, 0.0));
  for (JsonFields& model : TRY(fields.objects("models"))) {
    scenario.models.push_back(TRY(read_model(model)));
  }
  for (JsonFields& node : TRY(fields.objects("nodes"))) {
    scenario.nodes.push_back(TRY(read_node(node, scenario.accuracy_kappa)));
  }
  if (fields.has("workload")) {
    scenario.workload = TRY(read_workload(TRY(fields.object("workload"))));
  }
  if (const boost::json::value* requests = fields.raw("requests")) {
    scenario.requests = boost::json::serialize(*requests);
  }
  TRY_VOID(fields.expect_no_others());
  return scenario;
}

Result<std::vector<Node>> Scenario::nodes_with(std::string_view model_name,
                                               std::string_view quantizer_name) const {
  std::vector<Node> ready = nodes;
  const bool has_counted = std::any_of(
      nodes.begin(), nodes.end(), [](const Node& node) { return node.profile.flops_per_s > 0.0; });
  const auto model = std::find_if(models.begin(), models.end(),
                                  [&](const ModelProfile& its) { return its.name == model_name; });
  if (model == models.end() && (has_counted || !model_name.empty())) {
    return fail(ErrorCode::kNotFound, "there is no model {} in {}", model_name, name);
  }
  if (!has_counted) {
    if (quantizer_name != kAnyQuantizer) {
      return fail(ErrorCode::kInvalidArgument,
                  "the nodes of {} were measured with quantizers of their own; {} cannot be chosen",
                  name, quantizer_name);
    }
    return ready;
  }
  std::vector<schedule::Variant> variants;
  for (const Quantizer& quantizer : model->quantizers) {
    if (quantizer_name != kAnyQuantizer && quantizer_name != quantizer.name) {
      continue;
    }
    schedule::Variant variant;
    variant.name = quantizer.name;
    variant.accuracy = schedule::accuracy_of_perplexity(
        quantizer.perplexity, model->reference_perplexity, accuracy_kappa);
    variant.weight_bytes = quantizer.memory_factor * schedule::fp16_weight_bytes(model->shape);
    variant.kv_bytes_per_token = quantizer.memory_factor * schedule::fp16_kv_bytes(model->shape, 1);
    variant.is_loaded = quantizer_name != kAnyQuantizer;
    variant.time_factor = quantizer.time_factor;
    variants.push_back(std::move(variant));
  }
  if (variants.empty()) {
    return fail(ErrorCode::kNotFound, "{} has no quantizer {}", model_name, quantizer_name);
  }
  for (Node& node : ready) {
    if (node.profile.flops_per_s > 0.0) {
      node.profile.shape = model->shape;
      node.profile.variants = variants;
    }
  }
  return ready;
}

Result<std::vector<PlannedRequest>> parse_requests(std::string_view text,
                                                   const std::vector<Node>& nodes,
                                                   Arrivals arrivals) {
  const boost::json::value parsed = TRY(parse_json(text));
  if (!parsed.is_array()) {
    return fail(ErrorCode::kInvalidArgument, "\"requests\" is not a list");
  }
  std::vector<PlannedRequest> requests;
  for (const boost::json::value& value : parsed.as_array()) {
    JsonFields fields = TRY(JsonFields::of(value, fmt::format("requests[{}]", requests.size())));
    if (arrivals == Arrivals::kTogether && fields.has("arrival_s")) {
      return fail(ErrorCode::kInvalidArgument,
                  "{}: \"arrival_s\" has no place in a plan, which decides once over requests that "
                  "are all there; `edgewise simulate --requests` lets them arrive",
                  fields.where());
    }
    PlannedRequest planned;
    planned.id = TRY(fields.text_or("id", fmt::format("{}", requests.size())));
    planned.arrival_s = TRY(fields.number_or("arrival_s", 0.0, 0.0));
    schedule::Request& request = planned.request;
    request.prompt_tokens = TRY(fields.integer("prompt_tokens", 1));
    request.cached_tokens = TRY(fields.integer_or("cached_tokens", 0, 0));
    request.output_tokens = TRY(fields.integer("output_tokens", 1));
    request.deadline_s = TRY(fields.number_or("deadline_s", schedule::kNever, 0.0));
    request.first_token_s = TRY(fields.number_or("first_token_deadline_s", schedule::kNever, 0.0));
    request.min_accuracy = TRY(fields.number_or("min_accuracy", 0.0, 0.0));
    request.value = TRY(fields.number_or("value", 1.0, 0.0));
    planned.gains = TRY(read_gains(fields, nodes));
    TRY_VOID(fields.expect_no_others());
    if (request.cached_tokens >= request.prompt_tokens) {
      return fail(ErrorCode::kInvalidArgument, "{}: all of the prompt is cached", fields.where());
    }
    requests.push_back(std::move(planned));
  }
  return requests;
}

std::vector<std::string> builtin_scenarios() {
  return {"paper", "gateway"};
}

Result<Scenario> builtin_scenario(std::string_view name) {
  if (name == "paper") {
    return parse_scenario(kPaperProfile);
  }
  if (name == "gateway") {
    return parse_scenario(kGatewayProfile);
  }
  return fail(ErrorCode::kNotFound, "there is no built-in profile {}", name);
}

}  // namespace edgewise::simulate
