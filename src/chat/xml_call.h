// Qwen3-Coder's form of a tool call: <function=name><parameter=key>value</parameter>..</function>,
// whose values are plain text, typed by the tool's schema. Any thread.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "chat/tool_format.h"

namespace edgewise::chat {

// nullopt: not of this form.
std::optional<WrittenCall> parse_xml_call(std::string_view text, const std::vector<Tool>& tools);

}  // namespace edgewise::chat
