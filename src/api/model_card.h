// What the interface needs to know about the model that is served. Immutable while serving.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace edgewise::api {

struct ModelCard {
  std::string id;                      // what replies call it
  std::vector<std::string> other_ids;  // accepted in requests as well
  std::int64_t created = 0;            // seconds since 1970
  std::string
      fingerprint;  // changes with the model or the program: same seed, same fingerprint, same text
  std::int64_t context = 0;  // tokens
  std::int64_t vocab = 0;
  std::int64_t embedding_width = 0;
  // Measured agreement with the unquantized model, 0 to 1: the share of tokens at which both find
  // the same one most probable. What `min_accuracy` is held against; not known for most files.
  std::optional<double> accuracy;
  // Quantizations of one model have one group name: a request for it is answered by one of them
  // (choice.h). Empty: none.
  std::string group;
  bool generates = true;  // false: embeddings only
  bool embeds = false;
  bool has_chat_template = false;
  bool template_uses_effort = false;    // its output depends on `reasoning_effort`
  bool template_uses_thinking = false;  // ... on `enable_thinking`
};

}  // namespace edgewise::api
