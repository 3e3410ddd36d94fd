#include "chat/tool_format.h"

#include <fmt/format.h>

#include "chat/json_scanner.h"

namespace edgewise::chat {
namespace {

// What surrounds one call and what stands between two.
struct Syntax {
  std::string opener;     // before the first call
  std::string separator;  // between two calls; empty: one call only
  std::string closer;     // after the last
  std::string arguments_key = "arguments";
};

Syntax syntax_of(ToolFormat format) {
  switch (format) {
    case ToolFormat::kTagged:
      return {"<tool_call>\n", "\n</tool_call>\n<tool_call>\n", "\n</tool_call>"};
    case ToolFormat::kMistral:
      return {"[TOOL_CALLS][", ", ", "]"};
    case ToolFormat::kLlama:
      return {"", "", "", "parameters"};
    case ToolFormat::kList:
      return {"<|tool_call|>[", ", ", "]"};
    case ToolFormat::kFunctools:
      return {"functools[", ", ", "]"};
  }
  return {};
}

bool contains(std::string_view text, std::string_view part) {
  return text.find(part) != std::string_view::npos;
}

}  // namespace

ToolFormat tool_format_of(std::string_view template_source) {
  if (contains(template_source, "[TOOL_CALLS]")) {
    return ToolFormat::kMistral;
  }
  if (contains(template_source, "<tool_call>")) {
    return ToolFormat::kTagged;
  }
  if (contains(template_source, "<|tool_call|>")) {
    return ToolFormat::kList;
  }
  if (contains(template_source, "functools")) {
    return ToolFormat::kFunctools;
  }
  if (contains(template_source, "<|python_tag|>") ||
      (contains(template_source, "<|start_header_id|>") &&
       contains(template_source, "\"parameters\""))) {
    return ToolFormat::kLlama;
  }
  return ToolFormat::kTagged;
}

ToolMarkers markers_of(ToolFormat format) {
  switch (format) {
    case ToolFormat::kTagged:
      return {{"<tool_call>"}, {"</tool_call>"}, {}};
    case ToolFormat::kMistral:
      return {{"[TOOL_CALLS]"}, {}, {"[ARGS]", "[CALL_ID]"}};
    case ToolFormat::kLlama:
      return {{"<|python_tag|>"}, {}, {}};
    case ToolFormat::kList:
      return {{"<|tool_call|>"}, {"<|/tool_call|>"}, {}};
    case ToolFormat::kFunctools:
      return {{"functools"}, {}, {}};
  }
  return {};
}

std::string write_calls(ToolFormat format, const std::vector<WrittenCall>& calls) {
  const Syntax syntax = syntax_of(format);
  std::string text = syntax.opener;
  for (std::size_t i = 0; i < calls.size(); ++i) {
    if (i > 0) {
      text += syntax.separator.empty() ? "; " : syntax.separator;
    }
    text += fmt::format("{{\"name\": {}, \"{}\": {}}}", quote_json(calls[i].name),
                        syntax.arguments_key, calls[i].arguments);
  }
  return text + syntax.closer;
}

CallGrammar call_grammar(ToolFormat format, const std::vector<Tool>& tools, bool parallel) {
  const Syntax syntax = syntax_of(format);
  std::string alternatives;
  std::string rules;
  for (std::size_t i = 0; i < tools.size(); ++i) {
    alternatives += fmt::format("{}call_{}", i == 0 ? "" : " | ", i);
    // Each schema is a document of its own, so that "#/$defs/.." keeps its meaning.
    const std::string head =
        fmt::format("{{\"name\": {}, \"{}\": ", quote_json(tools[i].name), syntax.arguments_key);
    rules += fmt::format("call_{}: {} arguments_{} \"}}\"\narguments_{}: %json {}\n", i,
                         quote_json(head), i, i, tools[i].parameters_schema);
  }
  std::string calls = "calls: call";
  if (parallel && !syntax.separator.empty()) {
    calls += fmt::format(" ({} call)*", quote_json(syntax.separator));
  }
  if (!syntax.closer.empty()) {
    calls += " " + quote_json(syntax.closer);
  }
  return {syntax.opener, fmt::format("{}\ncall: {}\n{}", calls, alternatives, rules)};
}

}  // namespace edgewise::chat
