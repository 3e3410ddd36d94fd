#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <boost/json.hpp>
#include <chrono>

#include "api/chat_request.h"
#include "api/completion_request.h"
#include "api/embedding_request.h"

namespace edgewise::api {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

ModelCard toy_card() {
  ModelCard card;
  card.id = "toy";
  card.vocab = 1000;
  card.context = 100;
  card.embedding_width = 8;
  card.embeds = true;
  return card;
}

// From a request's body, as the routes do.
template <auto parse>
auto parsed(std::string_view body, const ModelCard& card) -> decltype(parse(JsonValue(), card)) {
  const auto value = parse_body(body);
  return value ? parse(*value, card) : tl::unexpected(value.error());
}

constexpr std::string_view kMessages =
    R"("model":"toy","messages":[{"role":"user","content":"hi"}])";

std::string with(std::string_view more) {
  return "{" + std::string(kMessages) + (more.empty() ? "" : ",") + std::string(more) + "}";
}

ChatRequest accepted(const std::string& body, const ModelCard& card = toy_card()) {
  auto request = parsed<parse_chat_request>(body, card);
  EXPECT_TRUE(request) << body << ": " << request.error().message;
  return request ? *request : ChatRequest{};
}

struct Refusal {
  int status = 0;
  std::string param, code, message;
};

Refusal refused(const std::string& body, const ModelCard& card = toy_card()) {
  auto request = parsed<parse_chat_request>(body, card);
  EXPECT_FALSE(request) << body;
  if (request) {
    return {};
  }
  const ApiError& error = request.error();
  EXPECT_FALSE(error.message.empty());
  return {error.status, error.param, error.code, error.message};
}

TEST(ChatRequest, DefaultsAreOpenAis) {
  const ChatRequest request = accepted(with(""));
  const chat::GenerationOptions& options = request.generation.options;
  EXPECT_EQ(request.input.messages_json, R"([{"role":"user","content":"hi"}])");
  EXPECT_EQ(options.sampling.temperature, 1.0F);
  EXPECT_EQ(options.sampling.top_p, 1.0F);
  EXPECT_EQ(options.max_tokens, -1);
  EXPECT_EQ(options.sampling.top_logprobs, -1);
  EXPECT_EQ(request.generation.choices, 1);
  EXPECT_FALSE(request.generation.stream);
  EXPECT_EQ(request.input.tool_choice, "none");
}

TEST(ChatRequest, HonoursSamplingFields) {
  const ChatRequest request = accepted(with(
      R"("temperature":0,"top_p":0.5,"top_k":40,"min_p":0.05,"typical_p":0.9,"repetition_penalty":1.1,"repetition_window":64,
         "presence_penalty":-2,"frequency_penalty":2.0,"seed":-7,"logit_bias":{"5":-100,"999":1.5},"stop":["a","b"],
         "max_completion_tokens":12,"min_tokens":3,"ignore_eos":true,"n":4,"logprobs":true,"top_logprobs":20,
         "stream":true,"stream_options":{"include_usage":true,"include_obfuscation":false},"deadline_ms":1500)"));
  const sampling::SamplingParams& sampling = request.generation.options.sampling;
  EXPECT_EQ(sampling.temperature, 0.0F);
  EXPECT_EQ(sampling.top_p, 0.5F);
  EXPECT_EQ(sampling.top_k, 40);
  EXPECT_EQ(sampling.min_p, 0.05F);
  EXPECT_EQ(sampling.typical_p, 0.9F);
  EXPECT_EQ(sampling.repetition_penalty, 1.1F);
  EXPECT_EQ(sampling.repetition_window, 64);
  EXPECT_EQ(sampling.presence_penalty, -2.0F);
  EXPECT_EQ(sampling.frequency_penalty, 2.0F);
  EXPECT_EQ(sampling.seed, static_cast<std::uint64_t>(-7));
  EXPECT_THAT(sampling.logit_bias, ElementsAre(std::pair(5, -100.0F), std::pair(999, 1.5F)));
  EXPECT_EQ(sampling.top_logprobs, 20);
  EXPECT_THAT(request.generation.options.stop, ElementsAre("a", "b"));
  EXPECT_EQ(request.generation.service.max_tokens, 12);
  EXPECT_EQ(request.generation.service.min_tokens, 3);
  EXPECT_EQ(request.generation.service.ignore_eos, true);
  EXPECT_EQ(request.generation.choices, 4);
  EXPECT_TRUE(request.generation.stream && request.generation.stream_usage);
  EXPECT_EQ(request.generation.service.deadline, std::chrono::milliseconds(1500));
}

TEST(ChatRequest, NullIsAbsent) {
  accepted(with(
      R"("temperature":null,"stop":null,"tools":null,"tool_choice":null,"response_format":null,"seed":null,
                   "audio":null,"functions":null,"logit_bias":null,"n":null,"stream":null,"store":null,"metadata":null)"));
}

TEST(ChatRequest, AcceptsFieldsThatChangeNothingHere) {
  accepted(with(
      R"("user":"u","safety_identifier":"s","prompt_cache_key":"k","metadata":{"a":"b"},"store":false,
                   "service_tier":"auto","modalities":["text"],"verbosity":"medium","parallel_tool_calls":false)"));
}

struct Case {
  const char* fields;
  const char* param;
};

TEST(ChatRequest, NamesTheFieldThatIsWrong) {
  for (const Case& c : std::initializer_list<Case>{
           {R"("temperature":2.1)", "temperature"},
           {R"("temperature":"hot")", "temperature"},
           {R"("temperature":true)", "temperature"},
           {R"("top_p":-0.1)", "top_p"},
           {R"("top_k":1.5)", "top_k"},
           {R"("n":0)", "n"},
           {R"("n":17)", "n"},
           {R"("seed":1e30)", "seed"},
           {R"("max_tokens":0)", "max_tokens"},
           {R"("max_tokens":99999999999999999999999)", "max_tokens"},
           {R"("max_tokens":5,"max_completion_tokens":6)", "max_tokens"},
           {R"("stop":["a",""])", "stop"},
           {R"("stop":5)", "stop"},
           {R"("stop":["1","2","3","4","5","6","7","8","9","0","1","2","3","4","5","6","7"])",
            "stop"},
           {R"("logit_bias":{"x":1})", "logit_bias.x"},
           {R"("logit_bias":{"1000":1})", "logit_bias.1000"},
           {R"("logit_bias":{"1":101})", "logit_bias.1"},
           {R"("logit_bias":[])", "logit_bias"},
           {R"("top_logprobs":3)", "top_logprobs"},
           {R"("logprobs":true,"top_logprobs":21)", "top_logprobs"},
           {R"("stream_options":{"include_usage":true})", "stream_options"},
           {R"("stream":true,"stream_options":{"include_obfuscation":true})",
            "stream_options.include_obfuscation"},
           {R"("stream":true,"stream_options":{"x":true})", "stream_options.x"},
           {R"("stream":"yes")", "stream"},
           {R"("store":true)", "store"},
           {R"("service_tier":"flex")", "service_tier"},
           {R"("modalities":["text","audio"])", "modalities"},
           {R"("audio":{"voice":"alloy","format":"wav"})", "audio"},
           {R"("prediction":{"type":"content","content":"x"})", "prediction"},
           {R"("web_search_options":{})", "web_search_options"},
           {R"("functions":[])", "functions"},
           {R"("function_call":"auto")", "function_call"},
           {R"("verbosity":"low")", "verbosity"},
           {R"("reasoning_effort":"high")", "reasoning_effort"},
           {R"("moderation":{"mode":"x"})", "moderation"},
           {R"("prompt_cache_retention":"24h")", "prompt_cache_retention"},
           {R"("deadline_ms":0)", "deadline_ms"},
           {R"("best_of":2)", "best_of"},
           {R"("temprature":1)", "temprature"},
           {R"("response_format":{"type":"xml"})", "response_format.type"},
           {R"("response_format":{"type":"json_schema"})", "response_format.json_schema"},
           {R"("response_format":{"type":"json_schema","json_schema":{"name":"x"}})",
            "response_format.json_schema.schema"},
           {R"("response_format":{"type":"json_object","x":1})", "response_format.x"},
           {R"("response_format":{"type":"json_object"},"guided_regex":"a")", "response_format"},
           {R"("guided_regex":"a","guided_json":{})", "guided_json"},
           {R"("guided_choice":[])", "guided_choice"},
           {R"("tool_choice":"required")", "tool_choice"},
           {R"("chat_template_kwargs":{"messages":[]})", "chat_template_kwargs.messages"},
       }) {
    const Refusal refusal = refused(with(c.fields));
    EXPECT_EQ(refusal.status, 400) << c.fields;
    EXPECT_EQ(refusal.param, c.param) << c.fields << ": " << refusal.message;
  }
}

TEST(ChatRequest, NamesTheMessageThatIsWrong) {
  for (
      const Case& c : std::initializer_list<Case>{
          {R"("messages":[])", "messages"},
          {R"("messages":null)", "messages"},
          {R"("messages":"hi")", "messages"},
          {R"("messages":["hi"])", "messages[0]"},
          {R"("messages":[{"content":"x"}])", "messages[0].role"},
          {R"("messages":[{"role":"wizard","content":"x"}])", "messages[0].role"},
          {R"("messages":[{"role":"function","name":"f","content":"x"}])", "messages[0].role"},
          {R"("messages":[{"role":"user"}])", "messages[0].content"},
          {R"("messages":[{"role":"user","content":null}])", "messages[0].content"},
          {R"("messages":[{"role":"user","content":"a"},{"role":"assistant"}])",
           "messages[1].content"},
          {R"("messages":[{"role":"user","content":5}])", "messages[0].content"},
          {R"("messages":[{"role":"user","content":[]}])", "messages[0].content"},
          {R"("messages":[{"role":"user","content":[{"type":"text"}]}])",
           "messages[0].content[0].text"},
          {R"("messages":[{"role":"user","content":[{"type":"text","text":"a"},{"type":"image_url","image_url":{"url":"x"}}]}])",
           "messages[0].content[1].type"},
          {R"("messages":[{"role":"user","content":[{"type":"input_audio","input_audio":{}}]}])",
           "messages[0].content[0].type"},
          {R"("messages":[{"role":"user","content":"x","tool_calls":[]}])",
           "messages[0].tool_calls"},
          {R"("messages":[{"role":"assistant","content":"x","refusal":"no"}])",
           "messages[0].refusal"},
          {R"("messages":[{"role":"assistant","content":"x","function_call":{}}])",
           "messages[0].function_call"},
          {R"("messages":[{"role":"tool","content":"x"}])", "messages[0].tool_call_id"},
          {R"("messages":[{"role":"tool","content":"x","tool_call_id":"c"}])",
           "messages[0].tool_call_id"},
          {R"("messages":[{"role":"assistant","tool_calls":[{"id":"c","type":"function","function":{"name":"f","arguments":"{"}}]}])",
           "messages[0].tool_calls[0].function.arguments"},
          {R"("messages":[{"role":"assistant","tool_calls":[{"id":"c","type":"custom","custom":{}}]}])",
           "messages[0].tool_calls[0].type"},
      }) {
    const Refusal refusal = refused(R"({"model":"toy",)" + std::string(c.fields) + "}");
    EXPECT_EQ(refusal.param, c.param) << c.fields << ": " << refusal.message;
  }
  EXPECT_THAT(
      refused(
          R"({"model":"toy","messages":[{"role":"user","content":[{"type":"image_url","image_url":{"url":"x"}}]}]})")
          .message,
      HasSubstr("an image was sent, but this model only takes text"));
}

TEST(ChatRequest, WritesMessagesForTemplates) {
  const ChatRequest request = accepted(R"({"model":"toy","messages":[
      {"role":"developer","content":[{"type":"text","text":"be"},{"type":"text","text":"kind"}]},
      {"role":"user","content":"2+2?","name":"Ann"},
      {"role":"assistant","content":null,"refusal":null,"audio":null,"annotations":[],"tool_calls":[
         {"id":"c1","type":"function","function":{"name":"add","arguments":"{\"a\":2}"}}]},
      {"role":"tool","tool_call_id":"c1","content":"4"}]})");
  EXPECT_EQ(
      request.input.messages_json,
      R"([{"role":"developer","content":"be\nkind"},{"role":"user","name":"Ann","content":"2+2?"},)"
      R"({"role":"assistant","content":"","tool_calls":[{"id":"c1","type":"function","function":)"
      R"({"name":"add","arguments":"{\"a\":2}"}}]},{"role":"tool","tool_call_id":"c1","content":"4"}])");
}

constexpr std::string_view kTools =
    R"("tools":[{"type":"function","function":{"name":"a","parameters":{"type":"object","properties":{"z":{},"b":{}}},"strict":true}},
                {"type":"function","function":{"name":"b"}}])";

TEST(ChatRequest, MovesVolatilePartsToTheEndOfTheLastUserMessage) {
  const auto messages = [](std::string_view array) {
    return fmt::format(R"({{"model":"toy","messages":{}}})", array);
  };
  ChatRequest request = accepted(messages(R"([
      {"role":"system","content":[{"type":"text","text":"Be brief."},
          {"type":"text","text":"It is 12:31.","volatile":true},{"type":"text","text":"Be kind."}]},
      {"role":"user","content":"one"},
      {"role":"assistant","content":"1"},
      {"role":"user","content":[{"type":"text","text":"20 C","volatile":true},{"type":"text","text":"two"}]},
      {"role":"assistant","content":[{"type":"text","text":"so","volatile":true}]}])"));
  EXPECT_EQ(
      request.input.messages_json,
      R"([{"role":"system","content":"Be brief.\nBe kind."},{"role":"user","content":"one"},)"
      R"({"role":"assistant","content":"1"},{"role":"user","content":"two\nIt is 12:31.\n20 C"},)"
      R"({"role":"assistant","content":"so"}])");
  EXPECT_EQ(request.generation.moved_parts, 2);
  request = accepted(messages(R"([
      {"role":"system","content":[{"type":"text","text":"It is 12:31.","volatile":true}]},
      {"role":"user","content":[{"type":"text","text":"hi","volatile":false}]}])"));
  EXPECT_EQ(request.input.messages_json,
            R"([{"role":"system","content":""},{"role":"user","content":"hi\nIt is 12:31."}])");
  request = accepted(
      messages(R"([{"role":"system","content":[{"type":"text","text":"now","volatile":true}]}])"));
  EXPECT_EQ(request.input.messages_json, R"([{"role":"system","content":"now"}])");
  EXPECT_EQ(request.generation.moved_parts, 0);
  const Refusal wrong = refused(
      messages(R"([{"role":"user","content":[{"type":"text","text":"now","volatile":"yes"}]}])"));
  EXPECT_EQ(wrong.param, "messages[0].content[0].volatile");
}

TEST(ChatRequest, HonoursTools) {
  const std::string tools(kTools);
  EXPECT_EQ(accepted(with(tools)).input.tool_choice, "auto");
  EXPECT_EQ(accepted(with(tools + R"(,"tool_choice":"required")")).input.tool_choice, "required");
  EXPECT_EQ(accepted(with(tools + R"(,"tool_choice":{"type":"function","function":{"name":"b"}})"))
                .input.tool_choice,
            "b");
  EXPECT_FALSE(accepted(with(tools + R"(,"parallel_tool_calls":false)")).input.parallel_tool_calls);
  const ChatRequest allowed = accepted(with(
      tools +
      R"(,"tool_choice":{"type":"allowed_tools","allowed_tools":{"mode":"required","tools":[{"type":"function","function":{"name":"b"}}]}})"));
  EXPECT_EQ(allowed.input.tool_choice, "required");
  EXPECT_EQ(allowed.input.tools_json, R"([{"type":"function","function":{"name":"b"}}])");
  EXPECT_THAT(accepted(with(tools)).input.tools_json, HasSubstr(R"("properties":{"z":{},"b":{}})"));
  for (
      const Case& c : std::initializer_list<Case>{
          {R"("tools":[])", "tools"},
          {R"("tools":[{"type":"custom","custom":{"name":"x"}}])", "tools[0].type"},
          {R"("tools":[{"type":"function","function":{"name":"no spaces"}}])",
           "tools[0].function.name"},
          {R"("tools":[{"type":"function","function":{"name":"auto"}}])", "tools[0].function.name"},
          {R"("tools":[{"type":"function","function":{"name":"a"}},{"type":"function","function":{"name":"a"}}])",
           "tools[1].function.name"},
          {R"("tools":[{"type":"function","function":{"name":"a"}}],"tool_choice":{"type":"function","function":{"name":"c"}})",
           "tool_choice.function.name"},
          {R"("tools":[{"type":"function","function":{"name":"a"}}],"tool_choice":"sometimes")",
           "tool_choice"},
      }) {
    EXPECT_EQ(refused(with(c.fields)).param, c.param) << c.fields;
  }
}

TEST(ChatRequest, HonoursConstraints) {
  using Kind = sampling::GrammarSpec::Kind;
  const auto grammar = [](std::string_view fields) {
    return *accepted(with(fields)).generation.options.sampling.grammar;
  };
  EXPECT_EQ(grammar(R"("response_format":{"type":"json_object"})").kind, Kind::kJsonObject);
  const auto schema = grammar(
      R"("response_format":{"type":"json_schema","json_schema":{"name":"x","strict":true,"schema":{"type":"object","z":1,"a":2}}})");
  EXPECT_EQ(schema.kind, Kind::kJsonSchema);
  EXPECT_EQ(schema.text, R"({"type":"object","z":1,"a":2})");
  EXPECT_EQ(grammar(R"("guided_regex":"[ab]+")").text, "[ab]+");
  EXPECT_EQ(grammar(R"("guided_choice":["a.b","c"])").text, "(a\\.b|c)");
  EXPECT_EQ(grammar(R"("grammar":"root ::= \"x\"")").kind, Kind::kGbnf);
  EXPECT_EQ(grammar(R"("guided_grammar":"start: \"x\"")").kind, Kind::kLark);
  EXPECT_EQ(grammar(R"("guided_json":{"type":"null"})").text, R"({"type":"null"})");
  EXPECT_FALSE(
      accepted(with(R"("response_format":{"type":"text"})")).generation.options.sampling.grammar);
}

TEST(ChatRequest, ReasoningEffortWorksAsTheTemplateDoes) {
  ModelCard card = toy_card();
  EXPECT_EQ(accepted(with(R"("reasoning_effort":"none")"), card).input.template_kwargs_json, "");
  card.template_uses_thinking = true;
  EXPECT_EQ(accepted(with(R"("reasoning_effort":"none")"), card).input.template_kwargs_json,
            R"({"enable_thinking":false})");
  EXPECT_EQ(
      accepted(
          with(
              R"("reasoning_effort":"none","chat_template_kwargs":{"enable_thinking":true,"x":1})"),
          card)
          .input.template_kwargs_json,
      R"({"enable_thinking":true,"x":1})");
  EXPECT_EQ(refused(with(R"("reasoning_effort":"low")"), card).param, "reasoning_effort");
  card.template_uses_effort = true;
  EXPECT_EQ(accepted(with(R"("reasoning_effort":"low")"), card).input.template_kwargs_json,
            R"({"reasoning_effort":"low"})");
}

TEST(ChatRequest, ManyTemplateVariablesTakeLinearTime) {
  std::string variables = R"("enable_thinking":true)";
  for (int i = 0; i < 300'000; ++i) {
    variables += ",\"v" + std::to_string(i) + "\":1";
  }
  const auto begin = std::chrono::steady_clock::now();
  accepted(with(R"("chat_template_kwargs":{)" + variables + "}"));
  EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::seconds(10));
}

TEST(ChatRequest, RefusesWhatIsNoRequest) {
  EXPECT_EQ(refused(R"({"messages":[{"role":"user","content":"x"}]})").param, "model");
  for (const char* body : {"", "{", "[]", "5", "null", "\"x\"", R"({"model":NaN})",
                           R"({"model":"toy","model":"toy"})", "{\"model\":\"\xff\"}"}) {
    EXPECT_EQ(refused(body).status, 400) << body;
  }
}

TEST(CompletionRequest, TakesPromptsInEveryForm) {
  const auto prompts = [](std::string_view prompt) {
    return parsed<parse_completion_request>(
        R"({"model":"toy","prompt":)" + std::string(prompt) + "}", toy_card());
  };
  EXPECT_EQ(std::get<std::string>(prompts(R"("a")")->prompts.at(0)), "a");
  EXPECT_EQ(prompts(R"(["a","b"])")->prompts.size(), 2U);
  EXPECT_THAT(std::get<1>(prompts("[1,2]")->prompts.at(0)), ElementsAre(1, 2));
  EXPECT_THAT(std::get<1>(prompts("[[1],[2,3]]")->prompts.at(1)), ElementsAre(2, 3));
  EXPECT_EQ(prompts("null")->prompts.size(), 1U);
  EXPECT_EQ(prompts(R"(["a",1])").error().param, "prompt[1]");
  EXPECT_EQ(prompts(R"([1,"a"])").error().param, "prompt");
  EXPECT_EQ(prompts("[1000]").error().param, "prompt");
  EXPECT_EQ(prompts("[-1]").error().param, "prompt");
  EXPECT_EQ(prompts("[]").error().param, "prompt");
  EXPECT_EQ(prompts("{}").error().param, "prompt");
  EXPECT_EQ(prompts("[[[1]]]").error().param, "prompt[0]");
}

TEST(CompletionRequest, HonoursOrRefusesItsOwnFields) {
  const auto parse = [](std::string_view fields) {
    return parsed<parse_completion_request>(
        R"({"model":"toy","prompt":"x",)" + std::string(fields) + "}", toy_card());
  };
  EXPECT_EQ(parse(R"("n":2,"best_of":2)")->generation.choices, 2);
  EXPECT_EQ(parse(R"("n":1)")->generation.options.max_tokens, 16);
  EXPECT_EQ(parse(R"("logprobs":20)")->generation.options.sampling.top_logprobs, 20);
  EXPECT_TRUE(parse(R"("echo":true)")->echo);
  EXPECT_EQ(parse(R"("logprobs":21)").error().param, "logprobs");
  EXPECT_EQ(parse(R"("best_of":2)").error().param, "best_of");
  EXPECT_EQ(parse(R"("suffix":"x")").error().param, "suffix");
  EXPECT_EQ(parse(R"("echo":true,"logprobs":0)").error().param, "echo");
  EXPECT_EQ(parse(R"("messages":[])").error().param, "messages");
}

TEST(EmbeddingRequest, HonoursOrRefusesItsFields) {
  const auto parse = [](std::string_view fields, const ModelCard& card = toy_card()) {
    return parsed<parse_embedding_request>(R"({"model":"toy",)" + std::string(fields) + "}", card);
  };
  EXPECT_EQ(parse(R"("input":["a","b"],"encoding_format":"base64","dimensions":8,"user":"u")")
                ->inputs.size(),
            2U);
  EXPECT_TRUE(parse(R"("input":"a","encoding_format":"base64")")->base64);
  EXPECT_EQ(parse(R"("input":"a","dimensions":4)").error().param, "dimensions");
  EXPECT_EQ(parse(R"("input":"a","encoding_format":"hex")").error().param, "encoding_format");
  EXPECT_EQ(parse(R"("input":"")").error().param, "input");
  EXPECT_EQ(parse(R"("input":["a",""])").error().param, "input");
  EXPECT_EQ(parse(R"("input":[])").error().param, "input");
  EXPECT_EQ(parse(R"("user":"u")").error().param, "input");
  ModelCard generator = toy_card();
  generator.embeds = false;
  EXPECT_EQ(parse(R"("input":"a")", generator).error().code, "unsupported_model");
}

// Whatever is changed in a good request, the outcome is a request or an error in OpenAI's form.
RC_GTEST_PROP(Requests, DamagedOnesGetAnErrorNotACrash, ()) {
  std::string body =
      with(std::string(kTools) + R"(,"temperature":0.5,"stop":["x"],"n":2,"logit_bias":{"1":2},
      "response_format":{"type":"json_schema","json_schema":{"name":"n","schema":{}}},"stream":true,"stream_options":{}})");
  body.pop_back();
  for (int i = *rc::gen::inRange(1, 5); i > 0; --i) {
    const auto at = *rc::gen::inRange<std::size_t>(0, body.size());
    const auto length = *rc::gen::inRange<std::size_t>(0, 12);
    const auto text = *rc::gen::element<std::string>("", "0", "null", "[]", "{}", "\"", ",", ":",
                                                     "-1e400", "\xff", "true", "}");
    body.replace(at, length, text);
  }
  const auto request = parsed<parse_chat_request>(body, toy_card());
  if (!request) {
    const ApiError& error = request.error();
    RC_ASSERT(error.status == 400 || error.status == 404);
    const boost::json::value parsed = boost::json::parse(error_json(error));
    RC_ASSERT(!parsed.at("error").at("message").as_string().empty());
    RC_ASSERT(parsed.at("error").as_object().size() == 4U);
  }
  RC_ASSERT(parsed<parse_completion_request>(body, toy_card()).has_value() == false);
  RC_ASSERT(parsed<parse_embedding_request>(body, toy_card()).has_value() == false);
}

}  // namespace
}  // namespace edgewise::api
