// How a model family writes tool calls, told from its chat template. Any thread.
//
//   kTagged   <tool_call>\n{"name": .., "arguments": ..}\n</tool_call>   Qwen, Hermes, SmolLM3,
//   Granite 4; and
//             <tool_call><function=..><parameter=..>..                   Qwen3-Coder
//   kMistral  [TOOL_CALLS][{"name": .., "arguments": .., "id": ..}], [TOOL_CALLS]name[ARGS]{..}
//   kLlama    {"name": .., "parameters": ..}, perhaps after <|python_tag|>          Llama 3.x
//   kList     <|tool_call|>[{"name": .., "arguments": ..}]               Granite 3, Phi-4
//   kFunctools functools[{"name": .., "arguments": ..}]                  Phi, Firefunction
// A template that shows no tools gets kTagged's form explained in the prompt (template_context.h).
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "chat/tools.h"

namespace edgewise::chat {

enum class ToolFormat { kTagged, kMistral, kLlama, kList, kFunctools };

ToolFormat tool_format_of(std::string_view template_source);

// Texts that begin a call, and those that only close one and are dropped. Some are control tokens.
struct ToolMarkers {
  std::vector<std::string> open;
  std::vector<std::string> close;
  std::vector<std::string> inner;  // within a call
};

ToolMarkers markers_of(ToolFormat format);

// A call as it stands in the history of a conversation, for templates that do not write it
// themselves.
struct WrittenCall {
  std::string name;
  std::string arguments;  // JSON text
};

std::string write_calls(ToolFormat format, const std::vector<WrittenCall>& calls);

// The calls of `tools` as rules of llguidance's Lark dialect: the rule "calls" is what comes after
// `opener`.
struct CallGrammar {
  std::string opener;
  std::string rules;
};

CallGrammar call_grammar(ToolFormat format, const std::vector<Tool>& tools, bool parallel);

}  // namespace edgewise::chat
