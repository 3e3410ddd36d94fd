#include "api/prompt_fields.h"

#include <fmt/format.h>

namespace edgewise::api {
namespace {

std::vector<TokenId> parse_tokens(const JsonValue::Array& values,
                                  const std::string& path,
                                  const ModelCard& card,
                                  Problem& problem) {
  std::vector<TokenId> tokens;
  tokens.reserve(values.size());
  for (std::size_t i = 0; i < values.size(); ++i) {
    const std::int64_t* id = values[i].as_integer();
    if (!id || *id < 0 || *id >= card.vocab) {
      problem.report(path, fmt::format("{}[{}]: expected a token id of this model, 0 to {}.", path,
                                       i, card.vocab - 1));
      break;
    }
    tokens.push_back(static_cast<TokenId>(*id));
  }
  return tokens;
}

}  // namespace

std::vector<TextOrTokens> parse_texts(const JsonValue& value,
                                      const std::string& path,
                                      const ModelCard& card,
                                      std::size_t most,
                                      Problem& problem) {
  std::vector<TextOrTokens> texts;
  if (const std::string* text = value.as_string()) {
    texts.emplace_back(*text);
    return texts;
  }
  const JsonValue::Array* elements = value.as_array();
  if (!elements || elements->empty()) {
    problem.report(path, fmt::format("{}: expected a string, an array of strings, an array of "
                                     "token ids or an array of arrays "
                                     "of token ids.",
                                     path));
    return texts;
  }
  if (elements->front().is_number()) {
    texts.emplace_back(parse_tokens(*elements, path, card, problem));
    return texts;
  }
  if (elements->size() > most) {
    problem.report(path, fmt::format("{}: at most {} at once.", path, most));
    return texts;
  }
  const bool are_strings = elements->front().as_string() != nullptr;
  for (std::size_t i = 0; i < elements->size() && !problem.is_set(); ++i) {
    const JsonValue& element = (*elements)[i];
    const std::string where = fmt::format("{}[{}]", path, i);
    if (are_strings && element.as_string()) {
      texts.emplace_back(*element.as_string());
    } else if (!are_strings && element.as_array()) {
      texts.emplace_back(parse_tokens(*element.as_array(), where, card, problem));
    } else {
      problem.report(
          where,
          fmt::format("{}: expected {}, not {}.", where,
                      are_strings ? "a string" : "an array of token ids", element.kind_name()),
          "invalid_type");
    }
  }
  return texts;
}

}  // namespace edgewise::api
