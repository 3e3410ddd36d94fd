#include "api/chat_request.h"

#include <algorithm>

#include "api/chat_messages.h"
#include "api/chat_tools.h"
#include "api/json_writer.h"

namespace edgewise::api {
namespace {

using sampling::GrammarSpec;

std::optional<GrammarSpec> parse_json_schema(Fields& format) {
  const JsonValue* value = format.object("json_schema");
  if (!value) {
    format.problem().report("response_format.json_schema", "response_format.json_schema: required.",
                            "missing_required_parameter");
    return std::nullopt;
  }
  Fields definition(*value, "response_format.json_schema", format.problem());
  definition.required_string("name");
  definition.string("description");
  definition.boolean("strict");  // the schema is always enforced
  const JsonValue* schema = definition.object("schema");
  if (!schema) {
    format.problem().report("response_format.json_schema.schema",
                            "response_format.json_schema.schema: required.",
                            "missing_required_parameter");
    return std::nullopt;
  }
  definition.finish();
  return GrammarSpec{GrammarSpec::Kind::kJsonSchema, to_json(*schema)};
}

std::optional<GrammarSpec> parse_response_format(Fields& request) {
  const JsonValue* value = request.object("response_format");
  if (!value) {
    return std::nullopt;
  }
  Fields format(*value, "response_format", request.problem());
  const std::string* type = format.required_string("type");
  std::optional<GrammarSpec> grammar;
  if (type && *type == "json_object") {
    grammar = GrammarSpec{GrammarSpec::Kind::kJsonObject, ""};
  } else if (type && *type == "json_schema") {
    grammar = parse_json_schema(format);
  } else if (type && *type != "text") {
    request.problem().report("response_format.type",
                             "response_format.type: \"text\", \"json_object\" or \"json_schema\"; "
                             "for a regular expression or a "
                             "grammar use guided_regex, guided_grammar or grammar.");
  }
  format.finish();
  return grammar;
}

void parse_constraints(Fields& request, ChatRequest& result) {
  const auto format = parse_response_format(request);
  const auto guide = parse_guides(request);
  if (format && guide) {
    request.problem().report("response_format",
                             "response_format: cannot be combined with grammar or guided_*.");
  }
  result.generation.options.sampling.grammar = format ? format : guide;
}

std::optional<std::int64_t> parse_length(Fields& request) {
  const auto newer = request.integer("max_completion_tokens", 1, kManyTokens);
  const auto older = request.integer("max_tokens", 1, kManyTokens);
  if (newer && older && *newer != *older) {
    request.problem().report("max_tokens",
                             "max_tokens: contradicts max_completion_tokens; send one of them.");
  }
  return newer ? newer : older;
}

void parse_logprobs(Fields& request, sampling::SamplingParams& sampling) {
  const bool wanted = request.boolean("logprobs").value_or(false);
  const auto alternatives = request.integer("top_logprobs", 0, 20);
  if (alternatives.value_or(0) > 0 && !wanted) {
    request.problem().report("top_logprobs", "top_logprobs: needs logprobs: true.");
  }
  sampling.top_logprobs = wanted ? static_cast<int>(alternatives.value_or(0)) : -1;
}

// reasoning_effort works through the template's own variables; where it has none, only what is
// already so is accepted.
void parse_effort(Fields& request, const ModelCard& card, JsonValue::Object& template_variables) {
  const std::string* effort = request.string("reasoning_effort");
  if (!effort) {
    return;
  }
  static constexpr std::string_view kEfforts[] = {"none", "minimal", "low", "medium",
                                                  "high", "xhigh",   "max"};
  if (std::ranges::find(kEfforts, *effort) == std::end(kEfforts)) {
    request.problem().report(
        "reasoning_effort",
        "reasoning_effort: one of none, minimal, low, medium, high, xhigh, max.");
  } else if (card.template_uses_effort) {
    template_variables.push_back({"reasoning_effort", JsonValue(*effort)});
  } else if (card.template_uses_thinking && (*effort == "none" || *effort == "medium")) {
    template_variables.push_back({"enable_thinking", JsonValue(*effort != "none")});
  } else if (card.template_uses_thinking) {
    request.problem().report("reasoning_effort",
                             "reasoning_effort: this model's reasoning can only be switched off "
                             "(\"none\") or on (\"medium\").",
                             "unsupported_value");
  } else if (*effort != "none") {
    request.problem().report("reasoning_effort",
                             "reasoning_effort: this model has no such setting; leave it out.",
                             "unsupported_value");
  }
}

void parse_template_variables(Fields& request, const ModelCard& card, chat::ChatInput& input) {
  JsonValue::Object variables;
  parse_effort(request, card, variables);
  if (const JsonValue* given = request.object("chat_template_kwargs")) {
    for (const std::string_view own : {"messages", "tools", "add_generation_prompt"}) {
      if (given->find(own)) {
        const std::string path = fmt::format("chat_template_kwargs.{}", own);
        request.problem().report(path, path + ": set by the request itself.");
      }
    }
    std::erase_if(variables,
                  [&](const JsonValue::Member& effort) { return given->find(effort.name); });
    variables.insert(variables.end(), given->as_object()->begin(), given->as_object()->end());
  }
  if (!variables.empty()) {
    input.template_kwargs_json = to_json(JsonValue(std::move(variables)));
  }
}

void parse_modalities(Fields& request) {
  const JsonValue::Array* modalities = request.array("modalities");
  const bool is_text = !modalities || (modalities->size() == 1 && modalities->front().as_string() &&
                                       *modalities->front().as_string() == "text");
  if (!is_text) {
    request.problem().report("modalities", "modalities: only [\"text\"] is supported.",
                             "unsupported_value");
  }
  request.refuse("audio", "this server answers with text only");
  request.refuse("prediction", "predicted outputs are not implemented");
  request.refuse("web_search_options", "this server does not search the web");
  request.accept_only("verbosity", {"medium"}, "models here have no such setting");
}

}  // namespace

tl::expected<ChatRequest, ApiError> parse_chat_request(const JsonValue& body,
                                                       const ModelCard& card) {
  Problem problem;
  Fields request(body, "", problem);
  ChatRequest result;
  result.generation = parse_generation_fields(request, card);
  Messages messages = parse_messages(request);
  result.input.messages_json = std::move(messages.json);
  result.generation.moved_parts = messages.moved_parts;
  parse_tools(request, result.input);
  result.generation.service.max_tokens = parse_length(request);
  parse_logprobs(request, result.generation.options.sampling);
  parse_constraints(request, result);
  parse_template_variables(request, card, result.input);
  parse_modalities(request);
  request.finish();
  if (problem.is_set()) {
    return tl::unexpected(problem.error());
  }
  return result;
}

}  // namespace edgewise::api
