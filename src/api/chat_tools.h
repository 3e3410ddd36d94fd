// tools, tool_choice and parallel_tool_calls of a chat request.
#pragma once

#include "api/fields.h"
#include "chat/generation.h"

namespace edgewise::api {

// Fills tools_json, tool_choice and parallel_tool_calls.
void parse_tools(Fields& request, chat::ChatInput& input);

}  // namespace edgewise::api
