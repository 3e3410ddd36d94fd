#include "api/reply_format.h"

#include <algorithm>

namespace edgewise::api {

void FoldedChoice::add(const chat::Delta& delta) {
  total.content += delta.content;
  total.reasoning += delta.reasoning;
  for (const chat::ToolCallDelta& part : delta.tool_calls) {
    auto call = std::ranges::find(total.tool_calls, part.index, &chat::ToolCallDelta::index);
    if (call == total.tool_calls.end()) {
      total.tool_calls.push_back(part);
      continue;
    }
    call->id += part.id;
    call->name += part.name;
    call->arguments += part.arguments;
  }
  total.logprobs.insert(total.logprobs.end(), delta.logprobs.begin(), delta.logprobs.end());
}

}  // namespace edgewise::api
