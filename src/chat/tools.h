// The functions that a request lets the model call, read from OpenAI's JSON. Any thread.
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace edgewise::chat {

struct Tool {
  std::string name;
  std::string parameters_schema;  // JSON text of an object; "{\"type\":\"object\"}" when absent
  std::map<std::string, std::string>
      parameter_types;  // top-level parameters and their "type", where given
};

// `tools_json`: an array of {"type":"function","function":{...}}, or empty text.
Result<std::vector<Tool>> parse_tools(std::string_view tools_json);

}  // namespace edgewise::chat
