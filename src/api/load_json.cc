#include "api/load_json.h"

#include <algorithm>
#include <set>

#include "api/fields.h"
#include "api/json_writer.h"

namespace edgewise::api {
namespace {

using admission::Contender;
using admission::Load;
using admission::RunningView;
using schedule::kNever;
using schedule::StepCost;

constexpr std::size_t kMostModels = 16;
constexpr std::size_t kMostRequests = 1024;  // running or waiting in one engine
constexpr double kMostSeconds = 1e6;
constexpr std::int64_t kMostTokens = std::int64_t{1} << 31U;

// What is infinite is left out.
void write_finite(JsonWriter& out, std::string_view name, double value) {
  if (value < kNever) {
    out.key(name).number(value);
  }
}

void write_cost(JsonWriter& out, const StepCost& cost) {
  out.begin_object();
  out.key("launch_s").number(cost.launch_s).key("weights_s").number(cost.weights_s);
  out.key("row_s").number(cost.row_s).key("position_s").number(cost.position_s);
  out.key("prompt_token_s").number(cost.prompt_token_s);
  out.key("prompt_pair_s").number(cost.prompt_pair_s);
  out.key("chunk_tokens").integer(cost.chunk_tokens);
  out.end_object();
}

void write_running(JsonWriter& out, const RunningView& view) {
  const schedule::RunningSequence& sequence = view.sequence;
  out.begin_object().key("context_tokens").integer(sequence.context_tokens);
  out.key("remaining_prompt_tokens").integer(sequence.remaining_prompt_tokens);
  out.key("remaining_output_tokens").integer(sequence.remaining_output_tokens);
  write_finite(out, "deadline_s", sequence.deadline_s);
  write_finite(out, "first_token_s", sequence.first_token_s);
  write_finite(out, "due_s", view.due_s);
  out.end_object();
}

void write_waiting(JsonWriter& out, const schedule::Candidate& candidate) {
  out.begin_object().key("prompt_tokens").integer(candidate.prompt_tokens);
  out.key("cached_tokens").integer(candidate.cached_tokens);
  out.key("output_tokens").integer(candidate.output_tokens);
  out.key("blocks").number(candidate.memory_bytes);
  write_finite(out, "deadline_s", candidate.deadline_s);
  write_finite(out, "first_token_s", candidate.first_token_s);
  out.end_object();
}

void write_load(JsonWriter& out, const Load& load) {
  const admission::Snapshot& snapshot = load.snapshot;
  out.begin_object().key("context").integer(load.context);
  out.key("usual_answer").integer(load.usual_answer);
  out.key("least_answer").integer(load.least_answer);
  out.key("block_tokens").integer(load.block_tokens);
  write_finite(out, "free_blocks", snapshot.capacity.memory_bytes);
  out.key("free_places").integer(std::max<std::int64_t>(0, snapshot.capacity.count));
  out.key("prompt_share").number(snapshot.prompt_share);
  out.key("cost");
  write_cost(out, snapshot.cost);
  out.key("plain_cost");
  write_cost(out, load.plain);
  out.key("running").begin_array();
  for (const RunningView& view : snapshot.running) {
    write_running(out, view);
  }
  out.end_array().key("waiting").begin_array();
  for (const Contender& contender : snapshot.waiting) {
    write_waiting(out, contender.candidate);
  }
  out.end_array().end_object();
}

double time_of(Fields& fields, std::string_view name) {
  return fields.number(name, -kMostSeconds, kMostSeconds).value_or(kNever);
}

std::int64_t tokens_of(Fields& fields, std::string_view name, std::int64_t least = 0) {
  return fields.integer(name, least, kMostTokens).value_or(least);
}

StepCost read_cost(Fields& load, std::string_view name) {
  StepCost cost;
  const JsonValue* value = load.object(name);
  if (value == nullptr) {
    load.problem().report(load.path(name), fmt::format("{}: is missing.", load.path(name)));
    return cost;
  }
  Fields fields(*value, load.path(name), load.problem());
  const auto seconds = [&](std::string_view which) {
    return fields.number(which, 0.0, kMostSeconds).value_or(0.0);
  };
  cost.launch_s = seconds("launch_s");
  cost.weights_s = seconds("weights_s");
  cost.row_s = seconds("row_s");
  cost.position_s = seconds("position_s");
  cost.prompt_token_s = seconds("prompt_token_s");
  cost.prompt_pair_s = seconds("prompt_pair_s");
  cost.chunk_tokens = tokens_of(fields, "chunk_tokens", 1);
  return cost;
}

RunningView read_running(Fields& fields) {
  RunningView view;
  schedule::RunningSequence& sequence = view.sequence;
  sequence.context_tokens = tokens_of(fields, "context_tokens");
  sequence.remaining_prompt_tokens =
      std::min(sequence.context_tokens, tokens_of(fields, "remaining_prompt_tokens"));
  sequence.remaining_output_tokens = tokens_of(fields, "remaining_output_tokens");
  sequence.deadline_s = time_of(fields, "deadline_s");
  sequence.first_token_s = time_of(fields, "first_token_s");
  view.due_s = time_of(fields, "due_s");
  return view;
}

Contender read_waiting(Fields& fields) {
  Contender contender;
  schedule::Candidate& candidate = contender.candidate;
  candidate.prompt_tokens = tokens_of(fields, "prompt_tokens", 1);
  candidate.cached_tokens =
      std::min(candidate.prompt_tokens - 1, tokens_of(fields, "cached_tokens"));
  candidate.output_tokens = tokens_of(fields, "output_tokens", 1);
  candidate.memory_bytes = fields.number("blocks", 0.0, 1e12).value_or(0.0);
  candidate.deadline_s = time_of(fields, "deadline_s");
  candidate.first_token_s = time_of(fields, "first_token_s");
  return contender;
}

// `read` makes one of each object of the array.
template <typename Read>
auto read_all(Fields& fields, std::string_view name, std::size_t most, const Read& read) {
  std::vector<decltype(read(fields))> result;
  const JsonValue::Array* array = fields.array(name);
  if (array != nullptr && array->size() > most) {
    fields.problem().report(fields.path(name),
                            fmt::format("{}: more than {}.", fields.path(name), most));
    return result;
  }
  for (std::size_t i = 0; array != nullptr && i < array->size(); ++i) {
    Fields member((*array)[i], fmt::format("{}[{}]", fields.path(name), i), fields.problem());
    result.push_back(read(member));
  }
  return result;
}

Load read_load(const JsonValue& value, const std::string& path, Problem& problem) {
  Fields fields(value, path, problem);
  Load load;
  load.context = tokens_of(fields, "context", 1);
  load.usual_answer = tokens_of(fields, "usual_answer", 1);
  load.least_answer = tokens_of(fields, "least_answer", 1);
  load.block_tokens = tokens_of(fields, "block_tokens", 1);
  admission::Snapshot& snapshot = load.snapshot;
  snapshot.capacity.memory_bytes = fields.number("free_blocks", 0.0, 1e12).value_or(kNever);
  snapshot.capacity.count = tokens_of(fields, "free_places");
  snapshot.prompt_share = fields.number("prompt_share", 0.01, 1.0).value_or(1.0);
  snapshot.cost = read_cost(fields, "cost");
  load.plain = read_cost(fields, "plain_cost");
  if (!(load.plain.decode_s(1.0, 0.0) > 0.0)) {
    problem.report(path, fmt::format("{}: a step takes no time.", path));
  }
  snapshot.running = read_all(fields, "running", kMostRequests, read_running);
  snapshot.waiting = read_all(fields, "waiting", kMostRequests, read_waiting);
  return load;
}

ModelLoad read_model(Fields& fields) {
  ModelLoad model;
  if (const std::string* id = fields.required_string("id")) {
    model.id = *id;
  }
  if (const std::string* group = fields.string("group")) {
    model.group = *group;
  }
  model.accuracy = fields.number("accuracy", 0.0, 1.0);
  if (const JsonValue* load = fields.object("load")) {
    model.load = read_load(*load, fields.path("load"), fields.problem());
  }
  return model;
}

}  // namespace

std::string load_json(const ServerLoad& load) {
  JsonWriter out;
  out.begin_object().key("may_name_tenants").boolean(load.may_name_tenants);
  out.key("draining").boolean(load.is_draining).key("models").begin_array();
  for (const ModelLoad& model : load.models) {
    out.begin_object().key("id").string(model.id);
    if (!model.group.empty()) {
      out.key("group").string(model.group);
    }
    if (model.accuracy) {
      out.key("accuracy").number(*model.accuracy);
    }
    out.key("load");
    if (model.load) {
      write_load(out, *model.load);
    } else {
      out.null();
    }
    out.end_object();
  }
  return out.end_array().end_object().take();
}

Result<ServerLoad> parse_load(std::string_view json) {
  const JsonValue value = TRY(parse_json_object(json));
  Problem problem;
  Fields fields(value, "", problem);
  ServerLoad load;
  load.may_name_tenants = fields.boolean("may_name_tenants").value_or(false);
  load.is_draining = fields.boolean("draining").value_or(false);
  load.models = read_all(fields, "models", kMostModels, read_model);
  std::set<std::string_view> ids;
  for (const ModelLoad& model : load.models) {
    if (!ids.insert(model.id).second) {
      problem.report("models", "models: two have the same id.");
    }
  }
  if (problem.is_set()) {
    return fail(ErrorCode::kCorrupt, "{}", problem.error().message);
  }
  return load;
}

}  // namespace edgewise::api
