#include "chat/template_context.h"

#include <fmt/format.h>

#include <algorithm>
#include <boost/json.hpp>

#include "base/hash.h"

namespace edgewise::chat {
namespace {

namespace json = boost::json;

Result<json::value> parse_json(std::string_view text, std::string_view what) {
  json::parse_options options;
  options.max_depth = 256;
  boost::system::error_code error;
  json::value value = json::parse({text.data(), text.size()}, error, {}, options);
  if (error) {
    return fail(ErrorCode::kInvalidArgument, "{} is not valid JSON: {}", what, error.message());
  }
  return value;
}

std::string_view string_at(const json::object& object, std::string_view key) {
  const json::value* value = object.if_contains({key.data(), key.size()});
  if (value == nullptr || !value->is_string()) {
    return {};
  }
  return {value->get_string().data(), value->get_string().size()};
}

// Parts become one text, as most templates expect; null or absent: empty, as templates test its
// truth or join it.
void flatten_content(json::object& message) {
  json::value& content = message["content"];
  if (content.is_null()) {
    content = "";
  }
  if (!content.is_array()) {
    return;
  }
  std::string text;
  for (const json::value& part : content.get_array()) {
    if (!part.is_object()) {
      return;
    }
    text += text.empty() ? "" : "\n";
    text += string_at(part.get_object(), "text");
  }
  content = text;
}

// Mistral's templates refuse ids that are not 9 letters or digits; others' ids are mapped to such.
std::string nine_characters(std::string_view id) {
  const auto plain = [](char c) {
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
  };
  if (id.size() == 9 && std::all_of(id.begin(), id.end(), plain)) {
    return std::string(id);
  }
  std::uint64_t hash = fnv1a(id);
  std::string out;
  for (int i = 0; i < 9; ++i, hash /= 36) {
    out.push_back("0123456789abcdefghijklmnopqrstuvwxyz"[hash % 36]);
  }
  return out;
}

class Conversion {
 public:
  Conversion(const TemplateAbilities& abilities, ToolFormat format)
      : abilities_(abilities), format_(format) {}

  Result<void> convert(json::object& message) {
    flatten_content(message);
    const std::string role(string_at(message, "role"));
    if (role == "developer" && !abilities_.knows_developer) {
      message["role"] = "system";
    } else if (role == "assistant") {
      TRY_VOID(convert_calls(message));
    } else if (role == "tool") {
      convert_result(message);
    }
    return {};
  }

 private:
  Result<void> convert_calls(json::object& message) {
    json::value* calls = message.if_contains("tool_calls");
    if (calls == nullptr || !calls->is_array() || calls->get_array().empty()) {
      message.erase("tool_calls");  // templates test for its presence
      return {};
    }
    std::vector<WrittenCall> written;
    for (json::value& call : calls->get_array()) {
      TRY_VOID(convert_call(call, written));
    }
    if (!abilities_.shows_calls) {
      std::string content(string_at(message, "content"));
      content += content.empty() ? "" : "\n";
      message["content"] = content + write_calls(format_, written);
      message.erase("tool_calls");
    }
    return {};
  }

  Result<void> convert_call(json::value& call, std::vector<WrittenCall>& written) {
    if (format_ == ToolFormat::kMistral && call.is_object()) {
      call.get_object()["id"] = nine_characters(string_at(call.get_object(), "id"));
    }
    json::value* function = call.is_object() ? call.get_object().if_contains("function") : nullptr;
    if (function == nullptr || !function->is_object()) {
      return fail(ErrorCode::kInvalidArgument,
                  "each of an assistant message's tool_calls must have a \"function\" object");
    }
    json::object& fields = function->get_object();
    json::value& arguments = fields["arguments"];
    // The API has JSON text here, most templates want what it says.
    std::string text = "{}";
    if (arguments.is_string() && !arguments.get_string().empty()) {
      text = std::string(arguments.get_string());
    } else if (arguments.is_object()) {
      text = json::serialize(arguments);
    }
    if (abilities_.arguments_as_text) {
      arguments = text;
    } else if (auto parsed = parse_json(text, "arguments"); parsed && parsed->is_object()) {
      arguments = std::move(*parsed);
    }
    written.push_back({std::string(string_at(fields, "name")), std::move(text)});
    return {};
  }

  void convert_result(json::object& message) {
    if (format_ == ToolFormat::kMistral) {
      message["tool_call_id"] = nine_characters(string_at(message, "tool_call_id"));
    }
    if (!abilities_.shows_results) {
      message["role"] = "user";
      message["content"] =
          fmt::format("<tool_response>\n{}\n</tool_response>", string_at(message, "content"));
      message.erase("tool_call_id");
    }
  }

  const TemplateAbilities& abilities_;
  ToolFormat format_;
};

// For templates that do not show tools: the same words that Qwen's and Hermes' templates use mean
// something to many models.
void describe_tools(json::array& messages, std::string_view tools_json) {
  const std::string text =
      "You may call one or more of these functions, given as JSON:\n<tools>\n" +
      std::string(tools_json) +
      "\n</tools>\nTo call a function, answer only with\n<tool_call>\n{\"name\": <function name>, "
      "\"arguments\": "
      "<arguments as a JSON object>}\n</tool_call>";
  for (json::value& message : messages) {
    json::object& fields = message.get_object();
    const std::string_view role = string_at(fields, "role");
    if (role == "system") {
      fields["content"] = fmt::format("{}\n\n{}", string_at(fields, "content"), text);
      return;
    }
    if (role == "user") {  // some templates have no system role, all have this one
      fields["content"] = fmt::format("{}\n\n{}", text, string_at(fields, "content"));
      return;
    }
  }
}

bool contains(const Result<std::string>& rendered, std::string_view part) {
  return rendered.has_value() && rendered->find(part) != std::string::npos;
}

json::object probe_context(bool with_tools,
                           bool with_call,
                           bool with_result,
                           bool arguments_as_text,
                           TemplateText special) {
  const json::value schema = {{"type", "object"}, {"properties", json::object()}};
  json::object context;
  context["bos_token"] = special.bos;
  context["eos_token"] = special.eos;
  context["add_generation_prompt"] = true;
  if (with_tools) {
    context["tools"] = {
        {{"type", "function"},
         {"function", {{"name", "probe_tool"}, {"description", "probe"}, {"parameters", schema}}}}};
  }
  json::array messages;
  messages.push_back({{"role", "user"}, {"content", "probe_question"}});
  if (with_call) {
    const json::value arguments = {{"probe_argument", "probe_value"}};
    json::object function;
    function["name"] = "probe_function";
    function["arguments"] = arguments_as_text ? json::value(json::serialize(arguments)) : arguments;
    json::object call;
    call["id"] = "call00001";
    call["type"] = "function";
    call["function"] = function;
    json::object message;
    message["role"] = "assistant";
    message["content"] = "";
    message["tool_calls"] = json::array{call};
    messages.push_back(message);
  }
  if (with_result) {
    messages.push_back({{"role", "tool"},
                        {"tool_call_id", "call00001"},
                        {"name", "probe_function"},
                        {"content", "probe_result"}});
  } else if (with_call) {
    messages.push_back({{"role", "user"}, {"content", "probe_question"}});
  }
  context["messages"] = messages;
  return context;
}

}  // namespace

TemplateAbilities probe_template(const text::ChatTemplate& chat_template,
                                 std::string_view bos_text,
                                 std::string_view eos_text) {
  const auto render = [&](bool tools, bool call, bool result, bool as_text) {
    return chat_template.render(
        json::serialize(probe_context(tools, call, result, as_text, {bos_text, eos_text})));
  };
  TemplateAbilities abilities;
  abilities.knows_developer = chat_template.source().find("developer") != std::string_view::npos;
  abilities.shows_tools = contains(render(true, false, false, false), "probe_tool");
  abilities.shows_calls = contains(render(false, true, true, false), "probe_argument") ||
                          contains(render(false, true, false, false), "probe_argument");
  if (!abilities.shows_calls) {
    abilities.arguments_as_text = contains(render(false, true, true, true), "probe_argument") ||
                                  contains(render(false, true, false, true), "probe_argument");
    abilities.shows_calls = abilities.arguments_as_text;
  }
  abilities.shows_results =
      abilities.shows_calls &&
      contains(render(false, true, true, abilities.arguments_as_text), "probe_result");
  return abilities;
}

Result<std::string> template_context(const ChatInput& input,
                                     const TemplateAbilities& abilities,
                                     ToolFormat format,
                                     TemplateText special,
                                     bool show_tools) {
  json::object context;
  context["bos_token"] = special.bos;
  context["eos_token"] = special.eos;
  context["add_generation_prompt"] = input.add_generation_prompt;
  if (!input.template_kwargs_json.empty()) {
    const json::value extra = TRY(parse_json(input.template_kwargs_json, "chat_template_kwargs"));
    if (!extra.is_object()) {
      return fail(ErrorCode::kInvalidArgument, "chat_template_kwargs must be a JSON object");
    }
    for (const auto& [key, value] : extra.get_object()) {
      context[key] = value;
    }
  }
  json::value messages = TRY(parse_json(input.messages_json, "messages"));
  if (!messages.is_array() || messages.get_array().empty()) {
    return fail(ErrorCode::kInvalidArgument, "messages must be an array with at least one message");
  }
  Conversion conversion(abilities, format);
  for (json::value& message : messages.get_array()) {
    if (!message.is_object()) {
      return fail(ErrorCode::kInvalidArgument, "each message must be a JSON object");
    }
    TRY_VOID(conversion.convert(message.get_object()));
  }
  if (show_tools) {
    json::value tools = TRY(parse_json(input.tools_json, "tools"));
    if (abilities.shows_tools) {
      context["tools"] = std::move(tools);
    } else {
      describe_tools(messages.get_array(), input.tools_json);
    }
  }
  context["messages"] = std::move(messages);
  return json::serialize(context);
}

}  // namespace edgewise::chat
