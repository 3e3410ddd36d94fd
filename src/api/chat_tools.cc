#include "api/chat_tools.h"

#include <fmt/format.h>

#include <algorithm>
#include <set>

#include "api/json_writer.h"

namespace edgewise::api {
namespace {

constexpr std::size_t kMaxTools = 128;

struct Tool {
  std::string name;
  const JsonValue* value;
};

// OpenAI's rule for names. "none", "auto" and "required" would read as a choice.
bool is_function_name(const std::string& name) {
  const auto is_allowed = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
           c == '-';
  };
  return !name.empty() && name.size() <= 64 && std::ranges::all_of(name, is_allowed) &&
         name != "none" && name != "auto" && name != "required";
}

std::string parse_tool(const JsonValue& value, const std::string& path, Problem& problem) {
  Fields tool(value, path, problem);
  const std::string* type = tool.required_string("type");
  if (type && *type != "function") {
    problem.report(path + ".type",
                   fmt::format("{}.type: only \"function\" tools are supported.", path),
                   "unsupported_value");
  }
  const JsonValue* definition = tool.object("function");
  if (!definition) {
    problem.report(path + ".function", fmt::format("{}.function: required.", path),
                   "missing_required_parameter");
    return {};
  }
  tool.finish();
  Fields function(*definition, path + ".function", problem);
  const std::string* name = function.required_string("name");
  function.string("description");
  function.object("parameters");
  function.boolean("strict");
  function.finish();
  if (name && !is_function_name(*name)) {
    const std::string where = path + ".function.name";
    problem.report(
        where,
        fmt::format("{}: 1 to 64 letters, digits, '_' or '-', and not none, auto or required.",
                    where));
  }
  return name ? *name : "";
}

std::vector<Tool> parse_tool_list(Fields& request) {
  std::vector<Tool> tools;
  const JsonValue::Array* values = request.array("tools");
  if (!values) {
    return tools;
  }
  if (values->empty() || values->size() > kMaxTools) {
    request.problem().report("tools",
                             fmt::format("tools: 1 to {} tools, or leave it out.", kMaxTools));
    return tools;
  }
  std::set<std::string> names;
  for (std::size_t i = 0; i < values->size(); ++i) {
    const std::string path = fmt::format("tools[{}]", i);
    tools.push_back({parse_tool((*values)[i], path, request.problem()), &(*values)[i]});
    if (!names.insert(tools.back().name).second) {
      request.problem().report(path + ".function.name",
                               fmt::format("{}.function.name: two tools have this name.", path));
    }
  }
  return tools;
}

// {"type": "function", "function": {"name": ...}} inside tool_choice.
std::string parse_named(const JsonValue& value,
                        const std::string& path,
                        const std::vector<Tool>& tools,
                        Problem& problem) {
  Fields choice(value, path, problem);
  choice.accept_only("type", {"function"}, "only functions can be chosen");
  const JsonValue* function_value = choice.object("function");
  std::string name;
  if (!function_value) {
    problem.report(path + ".function", fmt::format("{}.function: required.", path),
                   "missing_required_parameter");
    return name;
  }
  choice.finish();
  Fields function(*function_value, path + ".function", problem);
  if (const std::string* given = function.required_string("name")) {
    name = *given;
  }
  function.finish();
  if (std::ranges::find(tools, name, &Tool::name) == tools.end()) {
    const std::string where = path + ".function.name";
    problem.report(where,
                   fmt::format("{}: there is no tool \"{}\" in tools.", where, name.substr(0, 64)));
  }
  return name;
}

// {"type": "allowed_tools", "allowed_tools": {"mode": ..., "tools": [...]}}: only those are shown
// to the model.
std::string parse_allowed(const JsonValue& value, std::vector<Tool>& tools, Problem& problem) {
  Fields choice(value, "tool_choice", problem);
  choice.string("type");
  const JsonValue* allowed_value = choice.object("allowed_tools");
  if (!allowed_value) {
    problem.report("tool_choice.allowed_tools", "tool_choice.allowed_tools: required.",
                   "missing_required_parameter");
    return {};
  }
  choice.finish();
  Fields allowed(*allowed_value, "tool_choice.allowed_tools", problem);
  allowed.accept_only("mode", {"auto", "required"}, "there are no other modes");
  const std::string* mode = allowed.required_string("mode");
  const JsonValue::Array* listed = allowed.array("tools");
  allowed.finish();
  if (!listed || listed->empty()) {
    problem.report("tool_choice.allowed_tools.tools",
                   "tool_choice.allowed_tools.tools: required, one or more tools.");
    return {};
  }
  std::set<std::string> names;
  for (std::size_t i = 0; i < listed->size(); ++i) {
    names.insert(parse_named((*listed)[i], fmt::format("tool_choice.allowed_tools.tools[{}]", i),
                             tools, problem));
  }
  std::erase_if(tools, [&](const Tool& tool) { return !names.contains(tool.name); });
  return mode ? *mode : "";
}

std::string parse_choice(Fields& request, std::vector<Tool>& tools) {
  const JsonValue* value = request.get("tool_choice");
  if (!value) {
    return tools.empty() ? "none" : "auto";
  }
  Problem& problem = request.problem();
  if (const std::string* mode = value->as_string()) {
    if (*mode != "none" && *mode != "auto" && *mode != "required") {
      problem.report(
          "tool_choice",
          "tool_choice: \"none\", \"auto\", \"required\" or an object that names a function.");
    } else if (*mode == "required" && tools.empty()) {
      problem.report("tool_choice", "tool_choice: \"required\" needs tools.");
    }
    return tools.empty() ? "none" : *mode;
  }
  const JsonValue* type = value->find("type");
  if (type && type->as_string() && *type->as_string() == "allowed_tools") {
    return parse_allowed(*value, tools, problem);
  }
  return parse_named(*value, "tool_choice", tools, problem);
}

}  // namespace

void parse_tools(Fields& request, chat::ChatInput& input) {
  std::vector<Tool> tools = parse_tool_list(request);
  input.tool_choice = parse_choice(request, tools);
  input.parallel_tool_calls = request.boolean("parallel_tool_calls").value_or(true);
  request.refuse("functions", "it is deprecated; use tools");
  request.refuse("function_call", "it is deprecated; use tool_choice");
  if (!tools.empty()) {
    JsonWriter out;
    out.begin_array();
    for (const Tool& tool : tools) {
      out.value(*tool.value);
    }
    out.end_array();
    input.tools_json = out.take();
  }
}

}  // namespace edgewise::api
