// What is asked over HTTP and what is answered, in one piece and as a stream.
#include <array>
#include <limits>

#include "api/server_fixture.h"

namespace edgewise::api {
namespace {

namespace json = boost::json;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::Not;

TEST_F(ServerTest, AnswersAChat) {
  start();
  const HttpReply reply = chat();
  ASSERT_EQ(reply.status, 200) << reply.body;
  const json::value value = reply.json();
  EXPECT_TRUE(value.at("id").as_string().starts_with("chatcmpl-"));
  EXPECT_EQ(value.at("object"), "chat.completion");
  EXPECT_EQ(value.at("model"), "toy");
  EXPECT_EQ(value.at("system_fingerprint"), "fp_000000000001");
  const json::value& choice = value.at("choices").at(0);
  EXPECT_EQ(choice.at("message").at("content"), "Hello, world!");
  EXPECT_EQ(choice.at("message").at("role"), "assistant");
  EXPECT_TRUE(choice.at("message").at("refusal").is_null());
  EXPECT_TRUE(choice.at("logprobs").is_null());
  EXPECT_EQ(choice.at("finish_reason"), "stop");
  EXPECT_EQ(value.at("usage").at("prompt_tokens"), 7);
  EXPECT_EQ(value.at("usage").at("completion_tokens"), 4);
  EXPECT_EQ(value.at("usage").at("total_tokens"), 11);
  EXPECT_EQ(value.at("usage").at("prompt_tokens_details").at("cached_tokens"), 2);
  EXPECT_THAT(reply.head, HasSubstr("x-request-id: req_"));
}

TEST_F(ServerTest, StreamsAChat) {
  start();
  const HttpReply reply = chat(R"("stream":true,"stream_options":{"include_usage":true})");
  ASSERT_EQ(reply.status, 200);
  EXPECT_THAT(reply.head, HasSubstr("Content-Type: text/event-stream"));
  const std::vector<std::string> events = events_of(reply.body);
  ASSERT_EQ(events.size(), 8U);
  EXPECT_EQ(events.back(), "[DONE]");
  EXPECT_EQ(json::parse(events[0]).at("choices").at(0).at("delta").at("role"), "assistant");
  std::string text;
  for (int i = 1; i <= 4; ++i) {
    const json::value chunk = json::parse(events[static_cast<std::size_t>(i)]);
    EXPECT_EQ(chunk.at("object"), "chat.completion.chunk");
    EXPECT_TRUE(chunk.at("usage").is_null());
    text += std::string(chunk.at("choices").at(0).at("delta").at("content").as_string());
    EXPECT_TRUE(chunk.at("choices").at(0).at("finish_reason").is_null());
  }
  EXPECT_EQ(text, "Hello, world!");
  const json::value last = json::parse(events[5]);
  EXPECT_EQ(last.at("choices").at(0).at("finish_reason"), "stop");
  EXPECT_TRUE(last.at("choices").at(0).at("delta").as_object().empty());
  const json::value usage = json::parse(events[6]);
  EXPECT_TRUE(usage.at("choices").as_array().empty());
  EXPECT_EQ(usage.at("usage").at("total_tokens"), 11);
}

TEST_F(ServerTest, AnswersInSeveralChoices) {
  start();
  const json::value value = chat(R"("n":3,"seed":5)").json();
  ASSERT_EQ(value.at("choices").as_array().size(), 3U);
  EXPECT_EQ(value.at("choices").at(2).at("index"), 2);
  EXPECT_EQ(value.at("usage").at("prompt_tokens"), 7);
  EXPECT_EQ(value.at("usage").at("completion_tokens"), 12);
  EXPECT_EQ(backend_.options_[0].sampling.seed, 5U);
  EXPECT_NE(backend_.options_[1].sampling.seed, backend_.options_[2].sampling.seed);

  std::array<std::string, 3> texts;
  for (const std::string& event : events_of(chat(R"("n":3,"stream":true)").body)) {
    if (event != "[DONE]") {
      const json::value chunk = json::parse(event);
      const json::value& choice = chunk.at("choices").at(0);
      if (const json::value* content = choice.at("delta").as_object().if_contains("content")) {
        texts.at(static_cast<std::size_t>(choice.at("index").as_int64())) +=
            std::string(content->as_string());
      }
    }
  }
  EXPECT_THAT(texts, ElementsAre("Hello, world!", "Hello, world!", "Hello, world!"));
}

TEST_F(ServerTest, ReportsReasoningToolCallsAndLogprobs) {
  backend_.script_.clear();
  backend_.script_.resize(4);
  backend_.script_[0].reasoning = "Hmm";
  backend_.script_[1].tool_calls = {{0, "call_1", "add", ""}};
  backend_.script_[2].tool_calls = {{0, "", "", "{\"a\":"}};
  backend_.script_[3].tool_calls = {{0, "", "", "1}"}};
  chat::TokenLogprobs token;
  token.chosen = {65, "A\xE2", -0.25F};
  token.alternatives = {{66, "B", -1.5F}};
  backend_.script_[3].logprobs = {token};
  backend_.finish_ = chat::Finish::kToolCalls;
  start();
  constexpr std::string_view kTools =
      R"("tools":[{"type":"function","function":{"name":"add"}}],"logprobs":true,"top_logprobs":1)";
  const json::value choice = chat(kTools).json().at("choices").at(0);
  EXPECT_EQ(choice.at("finish_reason"), "tool_calls");
  EXPECT_TRUE(choice.at("message").at("content").is_null());
  EXPECT_EQ(choice.at("message").at("reasoning_content"), "Hmm");
  EXPECT_EQ(
      json::serialize(choice.at("message").at("tool_calls")),
      R"([{"id":"call_1","type":"function","function":{"name":"add","arguments":"{\"a\":1}"}}])");
  EXPECT_EQ(json::serialize(choice.at("logprobs").at("content")),
            "[{\"token\":\"A\xEF\xBF\xBD\",\"logprob\":-2.5E-1,\"bytes\":[65,226],\"top_logprobs\":"
            "[{\"token\":\"B\",\"logprob\":-1.5E0,\"bytes\":[66]}]}]");

  const std::vector<std::string> events =
      events_of(chat(std::string(kTools) + R"(,"stream":true)").body);
  ASSERT_EQ(events.size(), 7U);
  EXPECT_EQ(json::parse(events[1]).at("choices").at(0).at("delta").at("reasoning_content"), "Hmm");
  EXPECT_EQ(
      json::serialize(json::parse(events[2]).at("choices").at(0).at("delta").at("tool_calls")),
      R"([{"index":0,"id":"call_1","type":"function","function":{"name":"add","arguments":""}}])");
  EXPECT_EQ(
      json::serialize(json::parse(events[3]).at("choices").at(0).at("delta").at("tool_calls")),
      R"([{"index":0,"function":{"arguments":"{\"a\":"}}])");
}

TEST_F(ServerTest, CompletesText) {
  chat::TokenLogprobs token;
  token.chosen = {1, "Hello", -0.5F};
  token.alternatives = {{1, "Hello", -0.5F}, {2, "\xff", -2.0F}};
  backend_.script_[0].logprobs = {token};
  start();
  const json::value echoed =
      call("POST", "/v1/completions", R"({"model":"toy","prompt":["ab",  "c"],"n":2,"echo":true})")
          .json();
  ASSERT_EQ(echoed.at("choices").as_array().size(), 4U);
  EXPECT_EQ(echoed.at("object"), "text_completion");
  EXPECT_EQ(echoed.at("choices").at(0).at("text"), "abHello, world!");
  EXPECT_EQ(echoed.at("choices").at(3).at("text"), "cHello, world!");
  EXPECT_EQ(echoed.at("usage").at("prompt_tokens"), 3);
  EXPECT_EQ(echoed.at("usage").at("completion_tokens"), 16);

  const json::value scored =
      call("POST", "/v1/completions", R"({"model":"toy","prompt":[104,105],"logprobs":2})").json();
  EXPECT_THAT(backend_.prompts_.back(), ElementsAre(104, 105));
  EXPECT_EQ(
      json::serialize(scored.at("choices").at(0).at("logprobs")),
      R"({"tokens":["Hello"],"token_logprobs":[-5E-1],"top_logprobs":[{"Hello":-5E-1,"bytes:\\xff":-2}],"text_offset":[0]})");

  const auto events = events_of(
      call("POST", "/v1/completions", R"({"model":"toy","prompt":"ab","echo":true,"stream":true})")
          .body);
  EXPECT_EQ(json::parse(events[0]).at("choices").at(0).at("text"), "ab");
  EXPECT_EQ(json::parse(events[events.size() - 2]).at("choices").at(0).at("finish_reason"), "stop");
  EXPECT_EQ(events.back(), "[DONE]");
}

TEST_F(ServerTest, EmbedsInOrder) {
  backend_.card_.embeds = true;
  start();
  std::string inputs = R"("a")";
  for (int i = 2; i <= 40; ++i) {
    inputs += ",\"" + std::string(static_cast<std::size_t>(i), 'b') + "\"";
  }
  const json::value value =
      call("POST", "/v1/embeddings", R"({"model":"toy","input":[)" + inputs + "]}").json();
  ASSERT_EQ(value.at("data").as_array().size(), 40U);
  for (int i = 0; i < 40; ++i) {
    const json::value& item = value.at("data").at(static_cast<std::size_t>(i));
    EXPECT_EQ(item.at("index"), i);
    EXPECT_EQ(item.at("embedding").at(0).to_number<double>(), i + 1);
  }
  EXPECT_EQ(value.at("usage").at("prompt_tokens"), 820);
  const json::value encoded =
      call("POST", "/v1/embeddings", R"({"model":"toy","input":[7],"encoding_format":"base64"})")
          .json();
  EXPECT_EQ(encoded.at("data").at(0).at("embedding"),
            "AACAPwAA4EAAAAC/");  // Python: struct.pack('<3f', 1, 7, -.5)
}

TEST_F(ServerTest, RefusesWhatTheModelCannotDo) {
  backend_.card_.has_chat_template = false;
  start();
  EXPECT_EQ(chat().error().at("code"), "no_chat_template");
  EXPECT_EQ(call("POST", "/v1/embeddings", R"({"model":"toy","input":"a"})").error().at("code"),
            "unsupported_model");
}

TEST_F(ServerTest, RefusesToGenerateWithAnEmbeddingModel) {
  backend_.card_.generates = false;
  backend_.card_.has_chat_template = false;
  start();
  EXPECT_EQ(chat().error().at("code"), "unsupported_model");
  EXPECT_EQ(call("POST", "/v1/completions", R"({"model":"toy","prompt":"a"})").error().at("code"),
            "unsupported_model");
}

TEST_F(ServerTest, MapsErrorsOfTheEngine) {
  start();
  const HttpReply too_long = call("POST", "/v1/completions",
                                  R"({"model":"toy","prompt":")" + std::string(100, 'x') + "\"}");
  EXPECT_EQ(too_long.status, 400);
  EXPECT_EQ(too_long.error().at("code"), "context_length_exceeded");
  backend_.refusal_ = Error{ErrorCode::kUnavailable, "the queue is full"};
  const HttpReply full = chat();
  EXPECT_EQ(full.status, 503);
  EXPECT_THAT(full.head, HasSubstr("Retry-After: 1\r\n"));
  EXPECT_EQ(full.error().at("message"), "the queue is full");
  backend_.refusal_->retry_after_s = 6.2;
  EXPECT_THAT(chat().head, HasSubstr("Retry-After: 7\r\n"));
}

TEST_F(ServerTest, WhereTryingAgainIsOfNoUseItSaysSo) {
  backend_.script_.clear();
  backend_.failure_ = Error{ErrorCode::kDeadlineUnreachable, "even alone it is too late",
                            std::numeric_limits<double>::infinity()};
  start();
  for (const char* stream : {"false", "true"}) {
    const HttpReply refused = chat(fmt::format(R"("deadline_ms":1000,"stream":{})", stream));
    EXPECT_EQ(refused.status, 503);
    EXPECT_THAT(refused.head, HasSubstr("x-should-retry: false"));
    EXPECT_THAT(refused.head, Not(HasSubstr("Retry-After")));
  }
}

TEST_F(ServerTest, FailuresReachTheClientBeforeAndWithinAStream) {
  backend_.failure_ = Error{ErrorCode::kInternal, "a wheel came off"};
  start();
  EXPECT_EQ(chat().status, 500);
  const auto events = events_of(chat(R"("stream":true)").body);
  EXPECT_EQ(json::parse(events.back()).at("error").at("message"), "a wheel came off");
}

TEST_F(ServerTest, AnswersInOpenAisFormWhateverIsWrong) {
  ServerOptions options;
  options.http.limits.max_body_bytes = 1000;
  start(std::move(options));
  const auto check = [&](const HttpReply& reply, int status) {
    EXPECT_EQ(reply.status, status) << reply.body;
    const json::value error = reply.error();
    EXPECT_FALSE(error.at("message").as_string().empty());
    EXPECT_TRUE(error.at("type").is_string());
    EXPECT_TRUE(error.as_object().contains("param") && error.as_object().contains("code"));
  };
  check(call("GET", "/nothing"), 404);
  check(call("GET", "/v1/chat/completions"), 405);
  check(call("DELETE", "/v1/models"), 405);
  check(call("POST", "/v1/chat/completions", std::string(1001, ' ')), 413);
  check(call("POST", "/v1/chat/completions", ""), 400);
  check(call("POST", "/v1/chat/completions", "{\"model\":"), 400);
  check(call("POST", "/v1/chat/completions", std::string(900, '[')), 400);
  check(call("POST", "/v1/chat/completions",
             R"({"model":"other","messages":[{"role":"user","content":"x"}]})"),
        404);
  check(chat(R"("unknown":1)"), 400);
  check(chat("", "Origin: https://evil.example\r\n"), 403);
  check(call("BREW", "/health"), 405);
}

}  // namespace
}  // namespace edgewise::api
