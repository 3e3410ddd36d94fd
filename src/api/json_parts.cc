#include "api/json_parts.h"

namespace edgewise::api {

void begin_reply(JsonWriter& out, const ReplyIdentity& identity, std::string_view object) {
  out.begin_object();
  out.key("id").string(identity.id);
  out.key("object").string(object);
  out.key("created").integer(identity.created);
  out.key("model").string(identity.model);
  out.key("system_fingerprint").string(identity.fingerprint);
}

void write_usage(JsonWriter& out, const UsageTotals& usage) {
  out.key("usage").begin_object();
  out.key("prompt_tokens").integer(usage.prompt_tokens);
  out.key("completion_tokens").integer(usage.completion_tokens);
  out.key("total_tokens").integer(usage.prompt_tokens + usage.completion_tokens);
  out.key("prompt_tokens_details").begin_object().key("cached_tokens").integer(usage.cached_tokens);
  if (usage.approximate_tokens > 0) {
    out.key("approximate_tokens").integer(usage.approximate_tokens);
  }
  if (usage.moved_parts > 0) {
    out.key("moved_volatile_parts").integer(usage.moved_parts);
  }
  out.end_object();
  out.end_object();
}

std::string_view finish_name(chat::Finish finish) {
  switch (finish) {
    case chat::Finish::kLength:
      return "length";
    case chat::Finish::kToolCalls:
      return "tool_calls";
    case chat::Finish::kStop:
    case chat::Finish::kCancelled:
    case chat::Finish::kError:
      break;
  }
  return "stop";
}

}  // namespace edgewise::api
