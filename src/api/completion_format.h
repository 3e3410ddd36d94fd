// text_completion objects, whole and as stream chunks.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "api/chat_format.h"

namespace edgewise::api {

struct CompletionFormatOptions {
  bool with_logprobs = false;
  bool usage_follows = false;
  std::vector<std::string> echoes;  // text before each choice's own; empty: none
};

std::unique_ptr<ReplyFormat> make_completion_format(ReplyIdentity identity,
                                                    CompletionFormatOptions options);

}  // namespace edgewise::api
