// chat.completion and chat.completion.chunk objects.
#pragma once

#include <memory>
#include <string>

#include "api/model_card.h"
#include "api/reply_format.h"

namespace edgewise::api {

struct ReplyIdentity {
  std::string id;            // "chatcmpl-...", "cmpl-..."
  std::int64_t created = 0;  // seconds since 1970
  std::string model;
  std::string fingerprint;
};

ReplyIdentity make_identity(const std::string& prefix, const ModelCard& card);

// `with_logprobs`: asked for. `usage_follows`: chunks carry "usage": null, as OpenAI's do.
std::unique_ptr<ReplyFormat> make_chat_format(ReplyIdentity identity,
                                              bool with_logprobs,
                                              bool usage_follows);

}  // namespace edgewise::api
