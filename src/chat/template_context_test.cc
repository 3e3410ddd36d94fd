#include "chat/template_context.h"

#include <gtest/gtest.h>

#include <boost/json.hpp>

namespace edgewise::chat {
namespace {

// Short templates in the manner of the families.
constexpr std::string_view kPlain =
    "{% for m in messages %}<|im_start|>{{ m.role + '\\n' + m.content }}<|im_end|>\n{% endfor %}";
constexpr std::string_view kQwen =
    "{%- if tools %}{%- for t in tools %}{{- t | tojson }}{%- endfor %}{%- endif %}"
    "{%- for m in messages %}{%- if m.role == 'assistant' and m.tool_calls %}{%- for c in "
    "m.tool_calls %}"
    "{{- '<tool_call>{\"name\": \"' + c.function.name + '\", \"arguments\": ' }}{{- "
    "c.function.arguments | tojson }}{{- '}</tool_call>' }}"
    "{%- endfor %}{%- elif m.role == 'tool' %}{{- '<tool_response>' + m.content + "
    "'</tool_response>' }}"
    "{%- else %}{{- m.role + ': ' + m.content }}{%- endif %}{%- endfor %}";
constexpr std::string_view kText =  // concatenates the arguments, as deepseek's do
    "{%- for m in messages %}{%- if m.tool_calls %}{%- for c in m.tool_calls %}{{- c.function.name "
    "+ c.function.arguments }}{%- endfor %}"
    "{%- else %}{{- m.role + ': ' + m.content }}{%- endif %}{%- endfor %}";
constexpr std::string_view kStrict =  // knows no role "tool"
    "{%- for m in messages %}{%- if m.role == 'tool' %}{{ raise_exception('what is a tool?') }}{%- "
    "endif %}{{- m.content }}{%- endfor %}";

std::string render(std::string_view source, const ChatInput& input, bool tools = true) {
  auto compiled = text::ChatTemplate::compile(source);
  EXPECT_TRUE(compiled.has_value());
  const TemplateAbilities abilities = probe_template(*compiled, "<s>", "</s>");
  const auto context =
      template_context(input, abilities, tool_format_of(source), {"<s>", "</s>"}, tools);
  EXPECT_TRUE(context.has_value()) << context.error().message;
  auto rendered = compiled->render(*context);
  return rendered ? *rendered : "error: " + rendered.error().message;
}

TemplateAbilities probe(std::string_view source) {
  return probe_template(*text::ChatTemplate::compile(source), "<s>", "</s>");
}

ChatInput conversation() {
  ChatInput input;
  input.messages_json = R"([
    {"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]},
    {"role": "assistant", "content": null, "tool_calls": [
      {"id": "call_1", "type": "function", "function": {"name": "add", "arguments": "{\"x\": [1, 2.5]}"}}]},
    {"role": "tool", "tool_call_id": "call_1", "content": "three"}])";
  input.tools_json =
      R"([{"type": "function", "function": {"name": "add", "description": "adds"}}])";
  return input;
}

bool has(const std::string& text, std::string_view part) {
  return text.find(part) != std::string::npos;
}

TEST(ProbeTemplate, FindsWhatATemplateShows) {
  const TemplateAbilities qwen = probe(kQwen);
  EXPECT_TRUE(qwen.shows_tools && qwen.shows_calls && qwen.shows_results &&
              !qwen.arguments_as_text);
  const TemplateAbilities text = probe(kText);
  EXPECT_TRUE(!text.shows_tools && text.shows_calls && text.arguments_as_text &&
              text.shows_results);
  const TemplateAbilities plain = probe(kPlain);
  EXPECT_TRUE(!plain.shows_tools && !plain.shows_calls);
}

TEST(TemplateContext, GivesArgumentsAsTheTemplateWantsThem) {
  EXPECT_TRUE(
      has(render(kQwen, conversation()), R"({"name": "add", "arguments": {"x": [1, 2.5]}})"))
      << render(kQwen, conversation());
  EXPECT_TRUE(has(render(kText, conversation()), R"(add{"x": [1, 2.5]})"))
      << render(kText, conversation());
}

TEST(TemplateContext, WritesIntoMessagesWhatTheTemplateDoesNotShow) {
  const std::string plain = render(kPlain, conversation());
  EXPECT_TRUE(has(plain, "\"description\": \"adds\"")) << plain;
  EXPECT_TRUE(has(plain, "<tool_call>\n{\"name\": \"add\"")) << plain;
  EXPECT_TRUE(has(plain, "<|im_start|>user\n<tool_response>\nthree\n</tool_response>")) << plain;
  EXPECT_TRUE(has(plain, "\na\nb<|im_end|>")) << plain;
  const std::string strict = render(kStrict, conversation());
  EXPECT_TRUE(has(strict, "three")) << strict;
}

TEST(TemplateContext, HidesToolsWhenToldTo) {
  EXPECT_FALSE(has(render(kQwen, conversation(), false), "adds"));
  EXPECT_FALSE(has(render(kPlain, conversation(), false), "adds"));
}

TEST(TemplateContext, PassesExtraVariablesAndRejectsBrokenInput) {
  ChatInput input;
  input.messages_json = R"([{"role": "developer", "content": "d"}])";
  input.template_kwargs_json = R"({"enable_thinking": false})";
  EXPECT_EQ(render("{{ enable_thinking }} {{ messages[0].role }} {{ bos_token }}", input, false),
            "False system <s>");
  EXPECT_EQ(render("{# developer #}{{ messages[0].role }}", input, false), "developer");
  const TemplateAbilities none;
  for (const char* messages :
       {"", "{}", "[]", "[3]", "[{\"role\":", "[{\"role\":\"assistant\",\"tool_calls\":[4]}]"}) {
    ChatInput broken;
    broken.messages_json = messages;
    EXPECT_FALSE(template_context(broken, none, ToolFormat::kTagged, {}, false).has_value())
        << messages;
  }
  input.template_kwargs_json = "[1]";
  EXPECT_FALSE(template_context(input, none, ToolFormat::kTagged, {}, false).has_value());
}

TEST(TemplateContext, MapsIdsToWhatMistralAccepts) {
  constexpr std::string_view kMistral =
      "{% for m in messages %}{% if m.tool_calls %}[TOOL_CALLS]{% for c in m.tool_calls %}{{ c.id "
      "}}{{ c.function | tojson }}{% endfor %}"
      "{% elif m.role == 'tool' %}|{{ m.tool_call_id }}|{{ m.content }}{% endif %}{% endfor %}";
  const std::string rendered = render(kMistral, conversation());
  const std::size_t call = rendered.find("[TOOL_CALLS]") + 12;
  const std::string id = rendered.substr(call, 9);
  EXPECT_EQ(rendered[call + 9], '{') << rendered;
  EXPECT_TRUE(has(rendered, "|" + id + "|three")) << rendered;
}

}  // namespace
}  // namespace edgewise::chat
