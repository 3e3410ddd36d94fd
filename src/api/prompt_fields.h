// Text or token ids, one or many: what completions call `prompt` and embeddings `input`.
#pragma once

#include <string>
#include <variant>
#include <vector>

#include "api/fields.h"
#include "api/model_card.h"
#include "base/ids.h"

namespace edgewise::api {

using TextOrTokens = std::variant<std::string, std::vector<TokenId>>;

// A string, an array of strings, an array of token ids, or an array of arrays of token ids; at most
// `most` of them.
std::vector<TextOrTokens> parse_texts(const JsonValue& value,
                                      const std::string& path,
                                      const ModelCard& card,
                                      std::size_t most,
                                      Problem& problem);

}  // namespace edgewise::api
