#include "chat/tool_call_parser.h"

#include <gtest/gtest.h>

#include <boost/json.hpp>

#include "chat/xml_call.h"

namespace edgewise::chat {
namespace {

struct Call {
  std::string name;
  std::string arguments;
  bool operator==(const Call&) const = default;
};

struct Parsed {
  std::string content;
  std::vector<Call> calls;
  bool operator==(const Parsed&) const = default;
};

std::ostream& operator<<(std::ostream& out, const Parsed& parsed) {
  out << "content <" << parsed.content << ">";
  for (const Call& call : parsed.calls) {
    out << " call " << call.name << "(" << call.arguments << ")";
  }
  return out;
}

// Folds deltas as a client does, and checks that they come in order.
void fold(const Delta& delta, Parsed& parsed) {
  parsed.content += delta.content;
  for (const ToolCallDelta& call : delta.tool_calls) {
    if (!call.name.empty()) {
      EXPECT_EQ(call.index, std::ssize(parsed.calls));
      EXPECT_FALSE(call.id.empty());
      parsed.calls.push_back({call.name, ""});
    }
    ASSERT_EQ(call.index, std::ssize(parsed.calls) - 1);
    parsed.calls.back().arguments += call.arguments;
  }
}

ToolCallParser make_parser(ToolFormat format) {
  std::vector<Tool> tools(2);
  tools[0].name = "get_weather";
  tools[0].parameter_types = {{"city", "string"}, {"days", "integer"}, {"code", "string"}};
  tools[1].name = "add";
  return ToolCallParser({format, tools, [n = 0]() mutable { return "id" + std::to_string(n++); }});
}

Parsed run(ToolFormat format, std::string_view text, std::size_t cut, std::size_t piece) {
  ToolCallParser parser = make_parser(format);
  Parsed parsed;
  Delta first;
  parser.push(text.substr(0, cut), first);
  fold(first, parsed);
  for (std::size_t at = cut; at < text.size(); at += piece) {
    Delta delta;
    parser.push(text.substr(at, piece), delta);
    fold(delta, parsed);
  }
  Delta last;
  parser.finish(last);
  fold(last, parsed);
  return parsed;
}

struct Case {
  ToolFormat format;
  std::string text;
  Parsed expected;
};

class ToolCallParserTest : public testing::TestWithParam<Case> {};

TEST_P(ToolCallParserTest, ParsesTheSameHoweverTheTextIsCut) {
  const Case& c = GetParam();
  EXPECT_EQ(run(c.format, c.text, c.text.size(), 1), c.expected);
  EXPECT_EQ(run(c.format, c.text, 0, 1), c.expected);
  for (std::size_t cut = 1; cut < c.text.size(); ++cut) {
    ASSERT_EQ(run(c.format, c.text, cut, 1000), c.expected) << "cut at " << cut;
  }
}

constexpr auto kTagged = ToolFormat::kTagged;
constexpr auto kMistral = ToolFormat::kMistral;
constexpr auto kLlama = ToolFormat::kLlama;
constexpr auto kList = ToolFormat::kList;
constexpr auto kFunctools = ToolFormat::kFunctools;

INSTANTIATE_TEST_SUITE_P(
    Tagged,
    ToolCallParserTest,
    testing::Values(
        Case{
            kTagged,
            "<tool_call>\n{\"name\": \"add\", \"arguments\": {\"a\": 1, \"b\": [2]}}\n</tool_call>",
            {"", {{"add", "{\"a\": 1, \"b\": [2]}"}}}},
        Case{kTagged,
             "I will look.\n<tool_call>\n{\"name\": \"add\", \"arguments\": "
             "{}}\n</tool_call>\n<tool_call>\n"
             "{\"name\": \"get_weather\", \"arguments\": {\"city\": \"Z\\u00fcrich } "
             "</tool_call>\"}}\n</tool_call>\n",
             {"I will look.",
              {{"add", "{}"}, {"get_weather", "{\"city\": \"Z\\u00fcrich } </tool_call>\"}"}}}},
        Case{kTagged,
             "<tool_call>{\"arguments\": {\"a\": 1}, \"name\": \"add\"}</tool_call> done",
             {" done", {{"add", "{\"a\": 1}"}}}},
        Case{kTagged,
             "<tool_call>{\"name\": \"add\", \"arguments\": \"{\\\"a\\\": 1}\"}</tool_call>",
             {"", {{"add", "{\"a\": 1}"}}}},
        Case{kTagged, "<tool_call>{\"name\": \"add\"}</tool_call>", {"", {{"add", "{}"}}}},
        Case{kTagged,
             "<tool_call>{\"name\": \"add\", \"arguments\": null}</tool_call>",
             {"", {{"add", "{}"}}}},
        Case{kTagged,
             "<tool_call>{\"name\": \"unknown\", \"arguments\": {}}</tool_call>",
             {"", {{"unknown", "{}"}}}},
        Case{kTagged,
             "<tool_call>\n{\"name\": \"add\", \"arguments\": {\"a\": 1}}",  // the end came before
                                                                             // the tag
             {"", {{"add", "{\"a\": 1}"}}}},
        Case{kTagged,
             "<tool_call>\n{\"name\": \"add\", \"arguments\": {\"a\": 1",  // out of tokens
             {"", {{"add", "{\"a\": 1"}}}}));

INSTANTIATE_TEST_SUITE_P(
    NotCalls,
    ToolCallParserTest,
    testing::Values(
        Case{kTagged, "No call at all, 1 < 2.\n", {"No call at all, 1 < 2.\n", {}}},
        Case{kTagged, "<tool_call>oops</tool_call>", {"<tool_call>oops</tool_call>", {}}},
        Case{kTagged, " <tool_call>\n{\"nome\": 1} x", {" <tool_call>\n{\"nome\": 1} x", {}}},
        Case{kTagged, "<tool_call>{\"name\": 5}", {"<tool_call>{\"name\": 5}", {}}},
        Case{kTagged, "<tool_call>{'name': 'add'}", {"<tool_call>{'name': 'add'}", {}}},
        Case{kTagged, "<tool_call>{\"name\": \"add\", ", {"<tool_call>{\"name\": \"add\", ", {}}},
        Case{kTagged, "<tool_c", {"<tool_c", {}}},
        Case{kTagged, "<<tool_call>{\"name\": \"add\"}</tool_call>", {"<", {{"add", "{}"}}}},
        Case{kTagged, "{\"name\": \"Bob\", \"age\": 3}", {"{\"name\": \"Bob\", \"age\": 3}", {}}},
        Case{kTagged, "{\"title\": \"add\"}", {"{\"title\": \"add\"}", {}}},
        Case{kTagged,
             "<tool_call>{\"name\": \"add\", \"arguments\": {\"a\": 1}] more",
             {"] more", {{"add", "{\"a\": 1}"}}}},
        Case{kMistral, "[TOOL_CALLS]", {"[TOOL_CALLS]", {}}},
        Case{kMistral, "[TOOL_CALLS][]", {"[TOOL_CALLS][]", {}}},
        Case{kMistral, "[TOOL] x", {"[TOOL] x", {}}},
        Case{kLlama,
             "<|python_tag|>brave_search.call(query=\"x\")",
             {"<|python_tag|>brave_search.call(query=\"x\")", {}}},
        Case{kFunctools, "functools is a module", {"functools is a module", {}}}));

INSTANTIATE_TEST_SUITE_P(
    OtherFormats,
    ToolCallParserTest,
    testing::Values(
        Case{kTagged,
             "{\"name\": \"add\", \"arguments\": {\"a\": 1}}",
             {"", {{"add", "{\"a\": 1}"}}}},
        Case{kTagged,
             "```json\n{\n  \"name\": \"add\",\n  \"arguments\": {\"a\": [\"x\"]}\n}\n```",
             {"", {{"add", "{\"a\": [\"x\"]}"}}}},
        Case{kTagged,
             "```json\n{\"name\": \"Ann\"}\n```",
             {"```json\n{\"name\": \"Ann\"}\n```", {}}},
        Case{kTagged, "```json\n[1]\n```", {"```json\n[1]\n```", {}}},
        Case{kTagged, "```js\n{}", {"```js\n{}", {}}},
        Case{kTagged, "``", {"``", {}}},
        Case{kTagged, "```json\n{\"name\": \"add\"}\n``` There.", {" There.", {{"add", "{}"}}}},
        Case{kMistral,
             "[TOOL_CALLS][{\"name\": \"add\", \"arguments\": {\"a\": 1}, \"id\": \"abcdefghi\"}, "
             "{\"name\": \"add\", \"arguments\": {\"a\": 2}}]",
             {"", {{"add", "{\"a\": 1}"}, {"add", "{\"a\": 2}"}}}},
        Case{kMistral,
             "[TOOL_CALLS]add[ARGS]{\"a\": "
             "1}[TOOL_CALLS]get_weather[CALL_ID]abcdefghi[ARGS]{\"city\": \"x\"}",
             {"", {{"add", "{\"a\": 1}"}, {"get_weather", "{\"city\": \"x\"}"}}}},
        Case{kMistral,
             "Sure.[TOOL_CALLS] [{\"name\": \"add\", \"arguments\": {}}]",
             {"Sure.", {{"add", "{}"}}}},
        Case{kMistral,
             "[TOOL_CALLS][{\"name\": \"add\", \"arguments\": {}}, oops",
             {", oops", {{"add", "{}"}}}},
        Case{kLlama,
             "{\"name\": \"add\", \"parameters\": {\"a\": \"1\"}}",
             {"", {{"add", "{\"a\": \"1\"}"}}}},
        Case{kLlama,
             "<|python_tag|>{\"type\": \"function\", \"name\": \"add\", \"parameters\": {}}; "
             "{\"name\": \"add\", \"parameters\": {\"a\": 1}}",
             {"", {{"add", "{}"}, {"add", "{\"a\": 1}"}}}},
        Case{kLlama,
             "\n{\"name\": \"add\", \"parameters\": {}} That was it.",
             {" That was it.", {{"add", "{}"}}}},
        Case{kList,
             "<|tool_call|>[{\"name\": \"add\", \"arguments\": {\"a\": 1}}]<|/tool_call|>",
             {"", {{"add", "{\"a\": 1}"}}}},
        Case{kList, "<|tool_call|>{\"name\": \"add\", \"arguments\": {}}", {"", {{"add", "{}"}}}},
        Case{kFunctools,
             " functools[{\"name\": \"add\", \"arguments\": {\"a\": 1}}]",
             {"", {{"add", "{\"a\": 1}"}}}}));

INSTANTIATE_TEST_SUITE_P(
    Xml,
    ToolCallParserTest,
    testing::Values(
        Case{kTagged,
             "<tool_call>\n<function=get_weather>\n<parameter=city>\nParis, "
             "\"FR\"\n</parameter>\n<parameter=days>\n3\n"
             "</parameter>\n<parameter=code>\n12\n</parameter>\n</function>\n</tool_call>",
             {"",
              {{"get_weather",
                "{\"city\": \"Paris, \\\"FR\\\"\", \"days\": 3, \"code\": \"12\"}"}}}},
        Case{kTagged, "<tool_call><function=add></function></tool_call>", {"", {{"add", "{}"}}}},
        Case{kTagged,
             "<tool_call><function=add><parameter=a>",
             {"<tool_call><function=add><parameter=a>", {}}}));

TEST(ToolCallParser, SendsTheNameBeforeTheArgumentsAreComplete) {
  ToolCallParser parser = make_parser(kTagged);
  Delta delta;
  parser.push("<tool_call>\n{\"name\": \"add\", \"arguments\": {\"a\"", delta);
  ASSERT_EQ(delta.tool_calls.size(), 1U);
  EXPECT_EQ(delta.tool_calls[0].name, "add");
  EXPECT_EQ(delta.tool_calls[0].id, "id0");
  EXPECT_EQ(delta.tool_calls[0].arguments, "{\"a\"");
  Delta next;
  parser.push(": 1}}", next);
  ASSERT_EQ(next.tool_calls.size(), 1U);
  EXPECT_EQ(next.tool_calls[0].name, "");
  EXPECT_EQ(next.tool_calls[0].arguments, ": 1}");
  EXPECT_EQ(parser.complete_calls(), 1);
}

TEST(ToolFormat, IsToldFromTheTemplate) {
  EXPECT_EQ(tool_format_of("{{ '[TOOL_CALLS][' }}"), kMistral);
  EXPECT_EQ(tool_format_of("{{ '<tool_call>' }}"), kTagged);
  EXPECT_EQ(tool_format_of("respond with <|tool_call|> followed by a JSON list"), kList);
  EXPECT_EQ(
      tool_format_of("<|start_header_id|> {\"name\": function name, \"parameters\": dictionary"),
      kLlama);
  EXPECT_EQ(tool_format_of("functools[...]"), kFunctools);
  EXPECT_EQ(tool_format_of("{{ messages }}"), kTagged);
}

TEST(ToolFormat, WhatItWritesItReads) {
  const std::vector<WrittenCall> calls = {{"add", "{\"a\": 1}"},
                                          {"get_weather", "{\"city\": \"x\"}"}};
  for (const ToolFormat format : {kTagged, kMistral, kLlama, kList, kFunctools}) {
    const std::string text = write_calls(format, calls);
    EXPECT_EQ(run(format, text, 0, 3),
              (Parsed{"", {{"add", "{\"a\": 1}"}, {"get_weather", "{\"city\": \"x\"}"}}}))
        << text;
  }
}

TEST(ParseTools, NamesWhatIsWrong) {
  EXPECT_TRUE(parse_tools("").value().empty());
  EXPECT_FALSE(parse_tools("{}").has_value());
  EXPECT_FALSE(parse_tools("[{\"type\": \"function\"}]").has_value());
  EXPECT_FALSE(parse_tools("[{\"function\": {\"name\": \"a\", \"parameters\": 3}}]").has_value());
  const auto tools = parse_tools(
      R"([{"type":"function","function":{"name":"a","parameters":{"type":"object","properties":{"x":{"type":"integer"}}}}}])");
  ASSERT_TRUE(tools.has_value());
  EXPECT_EQ(tools->at(0).parameter_types.at("x"), "integer");
}

}  // namespace
}  // namespace edgewise::chat
