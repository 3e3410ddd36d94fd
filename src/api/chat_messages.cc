#include "api/chat_messages.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <set>
#include <vector>

#include "api/json_writer.h"

namespace edgewise::api {
namespace {

constexpr std::size_t kMaxMessages = 10'000;

std::string element_path(std::string_view array, std::size_t index) {
  return fmt::format("{}[{}]", array, index);
}

// Volatile parts on their way to the end of the last user message.
struct Moving {
  bool is_open = true;  // that message has not ended
  std::vector<std::string> texts;
};

struct Part {
  std::string text;
  bool is_volatile = false;
};

// One content part; other kinds than text are refused by name.
Part parse_part(const JsonValue& value, const std::string& path, Problem& problem) {
  Fields part(value, path, problem);
  const std::string* type = part.required_string("type");
  if (!type) {
    return {};
  }
  if (*type != "text") {
    const bool is_image = *type == "image_url" || *type == "input_image";
    const bool is_audio = *type == "input_audio";
    const std::string_view what = is_image          ? "an image"
                                  : is_audio        ? "audio"
                                  : *type == "file" ? "a file"
                                                    : "";
    problem.report(
        path + ".type",
        what.empty()
            ? fmt::format(
                  "{}.type: \"{}\" is not a known kind of content; only \"text\" is supported.",
                  path, type->substr(0, 50))
            : fmt::format("{}: {} was sent, but this model only takes text.", path, what),
        "unsupported_content");
    return {};
  }
  const std::string* text = part.required_string("text");
  const bool is_volatile = part.boolean("volatile").value_or(false);
  part.refuse("prompt_cache_breakpoint", "the prefix cache works by itself");
  part.finish();
  return {text ? *text : "", is_volatile};
}

std::string join_lines(const std::vector<std::string>& lines) {
  return fmt::format("{}", fmt::join(lines, "\n"));
}

// Content as one string, without what moves; nothing when absent or null.
std::optional<std::string> parse_content(Fields& message, Moving& moving) {
  const JsonValue* value = message.get("content");
  if (!value) {
    return std::nullopt;
  }
  if (const std::string* text = value->as_string()) {
    return *text;
  }
  const std::string path = message.path("content");
  if (!value->as_array()) {
    message.problem().report(path,
                             fmt::format("{}: expected a string or an array of parts, not {}.",
                                         path, value->kind_name()),
                             "invalid_type");
    return std::nullopt;
  }
  std::vector<std::string> texts;
  for (std::size_t i = 0; i < value->as_array()->size(); ++i) {
    Part part = parse_part((*value->as_array())[i], element_path(path, i), message.problem());
    const bool moves = part.is_volatile && moving.is_open;
    (moves ? moving.texts : texts).push_back(std::move(part.text));
  }
  if (value->as_array()->empty()) {
    message.problem().report(path, fmt::format("{}: an array of parts must not be empty.", path));
  }
  return join_lines(texts);
}

void parse_tool_call(const JsonValue& value,
                     const std::string& path,
                     std::set<std::string>& ids,
                     Problem& problem,
                     JsonWriter& out) {
  Fields call(value, path, problem);
  call.accept_only("type", {"function"}, "only functions can be called");
  call.integer("index", 0, 1'000'000);  // of a replayed stream; the order in the array counts
  const std::string* id = call.required_string("id");
  const JsonValue* function_value = call.object("function");
  if (!function_value) {
    problem.report(path + ".function", fmt::format("{}.function: required.", path),
                   "missing_required_parameter");
  }
  call.finish();
  if (problem.is_set()) {
    return;
  }
  Fields function(*function_value, path + ".function", problem);
  const std::string* name = function.required_string("name");
  const std::string* arguments = function.required_string("arguments");
  function.finish();
  if (!name || !arguments) {
    return;
  }
  if (auto parsed = parse_json_object(*arguments); !parsed) {
    const std::string where = path + ".function.arguments";
    problem.report(where, fmt::format("{}: must be the text of a JSON object: {}.", where,
                                      parsed.error().message));
  }
  ids.insert(*id);
  out.begin_object().key("id").string(*id).key("type").string("function");
  out.key("function")
      .begin_object()
      .key("name")
      .string(*name)
      .key("arguments")
      .string(*arguments)
      .end_object();
  out.end_object();
}

void write_name(Fields& message, JsonWriter& out) {
  if (const std::string* name = message.string("name")) {
    out.key("name").string(*name);
  }
}

void require_content(Fields& message, const std::optional<std::string>& content) {
  if (!content) {
    message.problem().report(message.path("content"),
                             fmt::format("{}: required.", message.path("content")),
                             "missing_required_parameter");
  }
}

void parse_assistant(Fields& message, std::set<std::string>& ids, Moving& moving, JsonWriter& out) {
  const auto content = parse_content(message, moving);
  message.refuse("refusal", "this server's models do not produce refusals");
  message.refuse("audio", "only text is supported");
  message.refuse("function_call", "it is deprecated; use tool_calls");
  if (const auto* annotations = message.array("annotations");
      annotations && !annotations->empty()) {
    message.refuse("annotations", "only text is supported");
  }
  write_name(message, out);
  const std::string* reasoning = message.string("reasoning_content");
  const JsonValue::Array* calls = message.array("tool_calls");
  const bool has_calls = calls && !calls->empty();
  if (!content && !has_calls) {
    require_content(message, content);
  }
  out.key("content").string(content.value_or(""));
  if (reasoning) {
    out.key("reasoning_content").string(*reasoning);
  }
  if (has_calls) {
    out.key("tool_calls").begin_array();
    for (std::size_t i = 0; i < calls->size(); ++i) {
      parse_tool_call((*calls)[i], element_path(message.path("tool_calls"), i), ids,
                      message.problem(), out);
    }
    out.end_array();
  }
}

void parse_tool_result(Fields& message,
                       const std::set<std::string>& ids,
                       Moving& moving,
                       JsonWriter& out) {
  const auto content = parse_content(message, moving);
  require_content(message, content);
  const std::string* id = message.required_string("tool_call_id");
  if (id && !ids.contains(*id)) {
    const std::string path = message.path("tool_call_id");
    message.problem().report(
        path, fmt::format("{}: no earlier assistant message has a tool call with this id.", path));
  }
  write_name(message, out);
  out.key("tool_call_id").string(id ? *id : "").key("content").string(content.value_or(""));
}

// `is_last_user`: volatile parts end here.
void parse_message(const JsonValue& value,
                   const std::string& path,
                   bool is_last_user,
                   std::set<std::string>& ids,
                   Moving& moving,
                   Problem& problem,
                   JsonWriter& out) {
  Fields message(value, path, problem);
  const std::string* role = message.required_string("role");
  if (!role) {
    return;
  }
  out.begin_object().key("role").string(*role);
  if (*role == "assistant") {
    parse_assistant(message, ids, moving, out);
  } else if (*role == "tool") {
    parse_tool_result(message, ids, moving, out);
  } else if (*role == "system" || *role == "developer" || *role == "user") {
    auto content = parse_content(message, moving);
    require_content(message, content);
    if (is_last_user) {
      moving.is_open = false;
      if (content && !moving.texts.empty()) {
        *content += (content->empty() ? "" : "\n") + join_lines(moving.texts);
      }
    }
    write_name(message, out);
    out.key("content").string(content.value_or(""));
  } else if (*role == "function") {
    problem.report(
        path + ".role",
        fmt::format("{}.role: \"function\" is deprecated; send role \"tool\" with a tool_call_id.",
                    path),
        "unsupported_value");
  } else {
    problem.report(
        path + ".role",
        fmt::format(
            "{}.role: \"{}\" is not a known role; use system, developer, user, assistant or tool.",
            path, role->substr(0, 50)));
  }
  message.finish();
  out.end_object();
}

// The number of messages when there is none.
std::size_t last_user_message(const JsonValue::Array& messages) {
  for (std::size_t i = messages.size(); i-- > 0;) {
    const JsonValue* role = messages[i].as_object() ? messages[i].find("role") : nullptr;
    const std::string* name = role ? role->as_string() : nullptr;
    if (name && *name == "user") {
      return i;
    }
  }
  return messages.size();
}

}  // namespace

Messages parse_messages(Fields& request) {
  const JsonValue::Array* messages = request.array("messages");
  if (!messages || messages->empty() || messages->size() > kMaxMessages) {
    request.problem().report(
        "messages", fmt::format("messages: required, an array of 1 to {} messages.", kMaxMessages),
        messages ? "invalid_value" : "missing_required_parameter");
    return {};
  }
  JsonWriter out;
  std::set<std::string> tool_call_ids;
  const std::size_t last_user = last_user_message(*messages);
  Moving moving{.is_open = last_user < messages->size(), .texts = {}};
  out.begin_array();
  for (std::size_t i = 0; i < messages->size() && !request.problem().is_set(); ++i) {
    parse_message((*messages)[i], element_path("messages", i), i == last_user, tool_call_ids,
                  moving, request.problem(), out);
  }
  out.end_array();
  return {out.take(), std::ssize(moving.texts)};
}

}  // namespace edgewise::api
