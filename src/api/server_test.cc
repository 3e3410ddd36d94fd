#include "api/server.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <boost/json.hpp>
#include <cmath>

#include "api/auth.h"
#include "api/fake_backend.h"
#include "api/key_limits.h"
#include "net/test_client.h"
#include "trace/exporter.h"

namespace edgewise::api {
namespace {

namespace json = boost::json;
using namespace std::chrono_literals;
using net::TestClient;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::Not;

struct HttpReply {
  int status = 0;
  std::string head, body;

  json::value json() const { return json::parse(body); }

  json::value error() const { return json().at("error"); }
};

// The payloads of a stream of events, chunk framing removed.
std::vector<std::string> events_of(const std::string& chunked) {
  std::string text;
  std::size_t at = 0;
  while (at < chunked.size()) {
    const std::size_t line = chunked.find("\r\n", at);
    const std::size_t size = std::stoul(chunked.substr(at, line - at), nullptr, 16);
    text += chunked.substr(line + 2, size);
    at = line + 2 + size + 2;
  }
  std::vector<std::string> events;
  for (std::size_t start = 0; start < text.size();) {
    const std::size_t end = text.find("\n\n", start);
    EXPECT_EQ(text.substr(start, 6), "data: ");
    events.push_back(text.substr(start + 6, end - start - 6));
    start = end + 2;
  }
  return events;
}

class ServerTest : public testing::Test {
 protected:
  ServerTest() : owned_(std::make_shared<FakeBackend>()), backend_(*owned_) {}

  void start(ServerOptions options = {}) {
    std::vector<std::shared_ptr<Backend>> backends = {owned_};
    backends.insert(backends.end(), others_.begin(), others_.end());
    auto server = Server::create(std::move(backends), std::move(options));
    ASSERT_TRUE(server) << server.error().message;
    server_ = std::move(*server);
  }

  std::string request_text(std::string_view method,
                           std::string_view path,
                           std::string_view body,
                           std::string_view headers = "") {
    return fmt::format(
        "{} {} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {}\r\n{}\r\n{}", method,
        path, body.size(), headers, body);
  }

  HttpReply call(std::string_view method,
                 std::string_view path,
                 std::string_view body = "",
                 std::string_view headers = "") {
    TestClient client(server_->port());
    client.send(request_text(method, path, body, headers));
    const std::string text = client.receive();
    HttpReply reply;
    const std::size_t end = text.find("\r\n\r\n");
    EXPECT_NE(end, std::string::npos) << text;
    if (end != std::string::npos) {
      reply.status = std::stoi(text.substr(9, 3));
      reply.head = text.substr(0, end + 2);
      reply.body = text.substr(end + 4);
    }
    return reply;
  }

  HttpReply chat(std::string_view more = "", std::string_view headers = "") {
    return chat_with("toy", more, headers);
  }

  HttpReply chat_with(std::string_view model,
                      std::string_view more = "",
                      std::string_view headers = "") {
    return call("POST", "/v1/chat/completions",
                fmt::format(R"({{"model":"{}","messages":[{{"role":"user","content":"hi"}}]{}{}}})",
                            model, more.empty() ? "" : ",", more),
                headers);
  }

  // One more model, before start(). Its file has the name of the first one's.
  FakeBackend& add_model(const std::string& id) {
    others_.push_back(std::make_shared<FakeBackend>());
    others_.back()->card_.id = id;
    return *others_.back();
  }

  void TearDown() override {
    server_.reset();
    for (const auto& other : others_) {
      other->finish();
    }
    backend_.finish();
  }

  template <typename Predicate>
  static bool eventually(Predicate predicate, std::chrono::milliseconds limit = 10s) {
    const auto deadline = std::chrono::steady_clock::now() + limit;
    while (!predicate()) {
      if (std::chrono::steady_clock::now() > deadline) {
        return false;
      }
      std::this_thread::sleep_for(1ms);
    }
    return true;
  }

  std::shared_ptr<FakeBackend> owned_;
  FakeBackend& backend_;
  std::vector<std::shared_ptr<FakeBackend>> others_;
  std::unique_ptr<Server> server_;
};

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

// ... which costs a key nothing of its tokens per minute.
TEST_F(ServerTest, CountsWhatWasTakenOverFromOtherTexts) {
  ServerOptions options;
  options.api_keys = *parse_api_keys("a tokens_per_minute=6,b tokens_per_minute=6", ',');
  start(std::move(options));
  const std::string a = "Authorization: Bearer a\r\n";
  const std::string b = "Authorization: Bearer b\r\n";
  const auto details = [](const HttpReply& reply) {
    return reply.json().at("usage").at("prompt_tokens_details").as_object();
  };
  EXPECT_FALSE(details(chat("", a)).contains("approximate_tokens"));
  EXPECT_EQ(chat("", a).status, 429);  // 9 tokens of 6
  backend_.approximate_tokens_ = 4;
  const HttpReply reply = chat(R"("approximate_reuse":true)", b);
  EXPECT_EQ(details(reply).at("approximate_tokens"), 4);
  EXPECT_EQ(details(reply).at("cached_tokens"), 2);
  EXPECT_EQ(chat("", b).status, 200);
  EXPECT_THAT(call("GET", "/metrics", "", a).body,
              HasSubstr("edgewise_tokens_total{kind=\"prompt_approximate\",model=\"toy\"} 8"));
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

TEST_F(ServerTest, MapsErrorsOfTheEngine) {
  start();
  const HttpReply too_long = call("POST", "/v1/completions",
                                  R"({"model":"toy","prompt":")" + std::string(100, 'x') + "\"}");
  EXPECT_EQ(too_long.status, 400);
  EXPECT_EQ(too_long.error().at("code"), "context_length_exceeded");
  backend_.refusal_ = Error{ErrorCode::kUnavailable, "the queue is full"};
  const HttpReply full = chat();
  EXPECT_EQ(full.status, 503);
  EXPECT_THAT(full.head, HasSubstr("Retry-After: 1"));
  EXPECT_EQ(full.error().at("message"), "the queue is full");
}

TEST_F(ServerTest, FailuresReachTheClientBeforeAndWithinAStream) {
  backend_.failure_ = Error{ErrorCode::kInternal, "a wheel came off"};
  start();
  EXPECT_EQ(chat().status, 500);
  const auto events = events_of(chat(R"("stream":true)").body);
  EXPECT_EQ(json::parse(events.back()).at("error").at("message"), "a wheel came off");
}

TEST_F(ServerTest, ServiceLevelsComeFromFieldsHeadersAndKeysInThisOrder) {
  ServerOptions options;
  options.api_keys = *parse_api_keys(
      "k deadline_ms=9000 priority=1 min_tokens=2 share=3 approximate_reuse=true", ',');
  start(std::move(options));
  const std::string key = "Authorization: Bearer k\r\n";
  const auto before = engine::Clock::now();
  EXPECT_EQ(chat("", key).status, 200);
  EXPECT_EQ(chat("", key + "X-Edgewise-Priority: 2\r\nx-edgewise-ignore-eos: true\r\n"
                           "X-Edgewise-Approximate-Reuse: false\r\n")
                .status,
            200);
  EXPECT_EQ(
      chat(R"("priority":-3,"first_token_deadline_ms":700)", key + "X-Edgewise-Priority: 2\r\n")
          .status,
      200);
  ASSERT_EQ(backend_.options_.size(), 3U);
  const auto ms = [&](const auto& time) {
    return std::chrono::duration_cast<std::chrono::milliseconds>(*time - before).count();
  };
  const chat::GenerationOptions& defaults = backend_.options_[0];
  EXPECT_EQ(defaults.priority, 1);
  EXPECT_EQ(defaults.min_tokens, 2);
  EXPECT_EQ(defaults.share, 3.0);
  EXPECT_FALSE(defaults.ignore_eos);
  EXPECT_NEAR(static_cast<double>(ms(defaults.deadline)), 9000, 500);
  EXPECT_TRUE(defaults.approximate_reuse);
  EXPECT_EQ(backend_.options_[1].priority, 2);
  EXPECT_TRUE(backend_.options_[1].ignore_eos);
  EXPECT_FALSE(backend_.options_[1].approximate_reuse);
  EXPECT_EQ(backend_.options_[2].priority, -3);
  EXPECT_NEAR(static_cast<double>(ms(backend_.options_[2].first_token_deadline)), 700, 500);
}

TEST_F(ServerTest, RefusesServiceLevelsThatMakeNoSense) {
  start();
  const auto code = [&](const HttpReply& reply) {
    EXPECT_EQ(reply.status, 400);
    return std::string(reply.error().at("code").as_string());
  };
  EXPECT_EQ(code(chat("", "X-Edgewise-Deadline: 5\r\n")), "unknown_header");
  EXPECT_EQ(code(chat("", "X-Edgewise-Deadline-Ms: soon\r\n")), "invalid_value");
  EXPECT_EQ(code(chat(R"("priority":11)")), "invalid_value");
  EXPECT_EQ(code(call("POST", "/v1/embeddings", R"({"model":"toy","input":"a"})",
                      "X-Edgewise-Priority: 1\r\n")),
            "unsupported_model");
  backend_.card_.embeds = true;
  EXPECT_EQ(code(call("POST", "/v1/embeddings", R"({"model":"toy","input":"a"})",
                      "X-Edgewise-Priority: 1\r\n")),
            "unknown_header");
  EXPECT_EQ(code(chat(R"("deadline_ms":100,"first_token_deadline_ms":200)")), "invalid_value");
  EXPECT_EQ(code(chat(R"("max_tokens":3)", "X-Edgewise-Min-Tokens: 4\r\n")), "invalid_value");
}

TEST_F(ServerTest, HoldsAccuracyDemandsAgainstWhatWasMeasured) {
  start();
  EXPECT_EQ(chat(R"("min_accuracy":0.9)").error().at("code"), "accuracy_unavailable");
  EXPECT_EQ(chat(R"("min_accuracy":0)").status, 200);
  backend_.card_.accuracy = 0.95;
  EXPECT_EQ(chat(R"("min_accuracy":0.9)").status, 200);
  EXPECT_EQ(chat(R"("min_accuracy":0.96)").status, 400);
}

TEST_F(ServerTest, HoldsKeysToTheirLimits) {
  ServerOptions options;
  options.api_keys = *parse_api_keys("a requests_per_minute=2,b", ',');
  start(std::move(options));
  const std::string key = "Authorization: Bearer a\r\n";
  EXPECT_EQ(chat("", key).status, 200);
  EXPECT_EQ(call("POST", "/v1/completions", R"({"model":"toy","prompt":"x"})", key).status, 200);
  const HttpReply refused = chat("", key);
  EXPECT_EQ(refused.status, 429);
  EXPECT_EQ(refused.error().at("type"), "rate_limit_error");
  EXPECT_EQ(refused.error().at("code"), "requests_per_minute_exceeded");
  EXPECT_THAT(refused.head, testing::ContainsRegex("Retry-After: (2[0-9]|30)"));
  EXPECT_EQ(chat("", "Authorization: Bearer b\r\n").status, 200);
  EXPECT_THAT(
      call("GET", "/metrics", "", key).body,
      HasSubstr("edgewise_refused_total{model=\"toy\",reason=\"requests_per_minute_exceeded\"} 1"));
}

TEST_F(ServerTest, HoldsEmbeddingsToTheLimitsOfTheirKey) {
  backend_.card_.embeds = true;
  ServerOptions options;
  options.api_keys =
      *parse_api_keys("a requests_per_minute=2,b tokens_per_minute=5,c concurrent=1", ',');
  start(std::move(options));
  const auto embed = [&](const std::string& key, std::string_view input) {
    return call("POST", "/v1/embeddings", fmt::format(R"({{"model":"toy","input":{}}})", input),
                "Authorization: Bearer " + key + "\r\n");
  };
  const auto refusal = [](const HttpReply& reply) {
    return reply.status == 429 ? std::string(reply.error().at("code").as_string()) : reply.body;
  };
  EXPECT_EQ(embed("a", R"("x")").status, 200);
  EXPECT_EQ(chat("", "Authorization: Bearer a\r\n").status, 200);  // one bucket for both
  EXPECT_EQ(refusal(embed("a", R"("x")")), "requests_per_minute_exceeded");

  EXPECT_EQ(embed("b", R"(["1234","5678"])").status, 200);  // 8 tokens of 5
  EXPECT_EQ(refusal(embed("b", R"("x")")), "tokens_per_minute_exceeded");
  EXPECT_THAT(
      call("GET", "/metrics", "", "Authorization: Bearer a\r\n").body,
      HasSubstr("edgewise_refused_total{model=\"toy\",reason=\"tokens_per_minute_exceeded\"} 1"));

  backend_.waits_ = backend_.waits_first_ = true;
  TestClient waiting(server_->port());
  waiting.send(request_text("POST", "/v1/embeddings", R"({"model":"toy","input":["x","y"]})",
                            "Authorization: Bearer c\r\n"));
  EXPECT_TRUE(
      eventually([&] { return refusal(embed("c", R"("x")")) == "concurrency_limit_exceeded"; }));
  backend_.release();
  EXPECT_THAT(waiting.receive(), HasSubstr("200 OK"));
  EXPECT_EQ(embed("c", R"("x")").status, 200);
}

TEST_F(ServerTest, WhoHasReadTheReplyMayAskAgain) {
  backend_.card_.embeds = true;
  backend_.linger_ = 100ms;
  ServerOptions options;
  options.api_keys = *parse_api_keys("k concurrent=1", ',');
  start(std::move(options));
  const std::string key = "Authorization: Bearer k\r\n";
  for (int i = 0; i < 2; ++i) {
    EXPECT_EQ(chat("", key).status, 200);
    EXPECT_EQ(chat(R"("stream":true)", key).status, 200);
    EXPECT_EQ(call("POST", "/v1/embeddings", R"({"model":"toy","input":"x"})", key).status, 200);
  }
}

TEST_F(ServerTest, ADeadlineStopsTheWork) {
  backend_.waits_ = true;
  backend_.waits_first_ = true;
  start();
  const HttpReply late = chat(R"("deadline_ms":50)");
  EXPECT_EQ(late.status, 504);
  EXPECT_EQ(late.error().at("code"), "deadline_exceeded");
  EXPECT_EQ(chat(R"("deadline_ms":50,"stream":true)").status, 504);
  EXPECT_TRUE(eventually([&] { return backend_.running_ == 0; }));
  backend_.waits_first_ = false;
  const HttpReply stream = chat(R"("deadline_ms":50,"stream":true)");
  EXPECT_EQ(stream.status, 200);
  EXPECT_EQ(json::parse(events_of(stream.body).back()).at("error").at("code"), "deadline_exceeded");
  EXPECT_TRUE(eventually([&] { return backend_.running_ == 0; }));
}

TEST_F(ServerTest, AVanishedClientFreesItsWorkAtOnce) {
  backend_.waits_ = true;
  start();
  for (const bool stream : {false, true}) {
    TestClient client(server_->port());
    client.send(request_text(
        "POST", "/v1/chat/completions",
        fmt::format(
            R"({{"model":"toy","n":2,"messages":[{{"role":"user","content":"hi"}}],"stream":{}}})",
            stream)));
    ASSERT_TRUE(eventually([&] { return backend_.running_ == 2; }));
    if (stream) {
      client.receive("Hello");
    }
    client.hang_up();
    EXPECT_TRUE(eventually([&] { return backend_.running_ == 0; }, 2s));
  }
  // An answer may end by its sink's refusal, just before it is cancelled.
  EXPECT_TRUE(eventually([&] { return backend_.cancelled().size() == 4U; }));
}

TEST_F(ServerTest, ASlowReaderLosesItsStreamAndItsWork) {
  backend_.repeats_ = 1'000'000;
  ServerOptions options;
  options.http.max_queued_bytes = 64 * 1024;
  start(std::move(options));
  TestClient client(server_->port(), 4096);
  client.send(
      request_text("POST", "/v1/chat/completions",
                   R"({"model":"toy","messages":[{"role":"user","content":"hi"}],"stream":true})"));
  ASSERT_TRUE(eventually([&] { return backend_.started_ == 1; }));
  EXPECT_TRUE(eventually([&] { return backend_.running_ == 0; }, 30s));
}

TEST_F(ServerTest, ManyStreamsAtOnceStayApart) {
  backend_.pause_ = 500us;
  start();
  std::atomic<int> good = 0;
  std::vector<std::thread> clients;
  for (int i = 0; i < 40; ++i) {
    clients.emplace_back([&] {
      const auto events = events_of(chat(R"("stream":true)").body);
      std::string text;
      for (const std::string& event : events) {
        if (event != "[DONE]") {
          const json::value chunk = json::parse(event);
          const json::object& delta = chunk.at("choices").at(0).at("delta").as_object();
          text += delta.contains("content") ? std::string(delta.at("content").as_string()) : "";
        }
      }
      good += text == "Hello, world!" ? 1 : 0;
    });
  }
  for (std::thread& client : clients) {
    client.join();
  }
  EXPECT_EQ(good, 40);
}

TEST_F(ServerTest, DrainsRunningAnswers) {
  backend_.waits_ = true;
  start();
  std::thread release([&] {
    EXPECT_TRUE(eventually([&] { return backend_.running_ == 1; }));
    std::thread drain([&] { EXPECT_TRUE(server_->drain(10s)); });
    std::this_thread::sleep_for(50ms);
    backend_.release();
    drain.join();
  });
  const HttpReply reply = chat();
  release.join();
  EXPECT_EQ(reply.json().at("choices").at(0).at("message").at("content"), "Hello, world!");
}

TEST_F(ServerTest, StoppingCancelsWhatRuns) {
  backend_.repeats_ = 1'000'000;
  backend_.card_.embeds = true;
  start();
  std::vector<std::unique_ptr<TestClient>> clients;
  for (int i = 0; i < 10; ++i) {
    clients.push_back(std::make_unique<TestClient>(server_->port()));
    clients.back()->send(request_text(
        "POST", "/v1/chat/completions",
        fmt::format(
            R"({{"model":"toy","messages":[{{"role":"user","content":"hi"}}],"stream":{}}})",
            i % 2 == 0)));
  }
  ASSERT_TRUE(eventually([&] { return backend_.running_ == 10; }));
  server_.reset();
  EXPECT_TRUE(eventually([&] { return backend_.running_ == 0; }));
}

TEST_F(ServerTest, ListsItsModel) {
  start();
  const json::value list = call("GET", "/v1/models").json();
  EXPECT_EQ(
      json::serialize(list),
      R"({"object":"list","data":[{"id":"toy","object":"model","created":1700000000,"owned_by":"edgewise"}]})");
  EXPECT_EQ(call("GET", "/v1/models/toy.gguf").json().at("id"), "toy");
  const HttpReply unknown = call("GET", "/v1/models/gpt%2F4");
  EXPECT_EQ(unknown.status, 404);
  EXPECT_EQ(unknown.error().at("code"), "model_not_found");
  EXPECT_THAT(std::string(unknown.error().at("message").as_string()), HasSubstr("gpt/4"));
}

TEST_F(ServerTest, AsksTheModelThatIsNamed) {
  FakeBackend& other = add_model("other");
  other.card_.vocab = 1000;
  other.script_.resize(1);
  other.script_[0].content = "Yes";
  start();
  EXPECT_EQ(call("GET", "/v1/models").json().at("data").as_array().size(), 2U);
  EXPECT_EQ(call("GET", "/v1/models/other").json().at("id"), "other");

  const HttpReply first = chat();
  EXPECT_EQ(first.json().at("model"), "toy");
  const HttpReply second = chat_with("other", R"("logit_bias":{"900":1})");
  EXPECT_EQ(second.json().at("model"), "other");
  EXPECT_EQ(second.json().at("choices").at(0).at("message").at("content"), "Yes");
  EXPECT_EQ(chat(R"("logit_bias":{"900":1})").status, 400);  // each with its own vocabulary
  EXPECT_EQ(backend_.chats_.size(), 1U);
  EXPECT_EQ(other.chats_.size(), 1U);

  const HttpReply text =
      call("POST", "/v1/completions", R"({"model":"other","prompt":"x","stream":true})");
  EXPECT_THAT(events_of(text.body)[0], HasSubstr("\"model\":\"other\""));

  const HttpReply unknown = chat_with("third");
  EXPECT_EQ(unknown.status, 404);
  EXPECT_EQ(unknown.error().at("code"), "model_not_found");
  EXPECT_THAT(std::string(unknown.error().at("message").as_string()),
              HasSubstr("\"toy\", \"other\""));
  EXPECT_EQ(chat_with("toy.gguf").status, 404);  // both files are called so
  EXPECT_EQ(call("POST", "/v1/chat/completions", R"({"messages":[]})").error().at("param"),
            "model");
}

TEST_F(ServerTest, AnEmbeddingModelBesideOneThatChats) {
  FakeBackend& other = add_model("vectors");
  other.card_.generates = false;
  other.card_.embeds = true;
  other.card_.has_chat_template = false;
  start();
  const HttpReply vectors = call("POST", "/v1/embeddings",
                                 R"({"model":"vectors","input":"ab","encoding_format":"float"})");
  EXPECT_EQ(vectors.json().at("model"), "vectors");
  EXPECT_EQ(chat().status, 200);
  EXPECT_EQ(call("POST", "/v1/embeddings", R"({"model":"toy","input":"ab"})").status, 400);
  EXPECT_EQ(chat_with("vectors").status, 400);
  const std::string metrics = call("GET", "/metrics").body;
  EXPECT_THAT(metrics, HasSubstr("edgewise_tokens_total{kind=\"prompt\",model=\"vectors\"} 2"));
  EXPECT_THAT(metrics, HasSubstr("edgewise_tokens_total{kind=\"prompt\",model=\"toy\"} 7"));
  EXPECT_THAT(metrics, HasSubstr("vllm:num_requests_running{model_name=\"vectors\"} 0"));
  EXPECT_THAT(metrics, HasSubstr("edgewise_info{model=\"vectors\"} 1"));
}

TEST_F(ServerTest, AClientThatGoesAwayCancelsInItsOwnModel) {
  FakeBackend& other = add_model("other");
  other.waits_ = true;
  start();
  {
    TestClient client(server_->port());
    client.send(
        request_text("POST", "/v1/completions", R"({"model":"other","prompt":"x","stream":true})"));
    EXPECT_TRUE(eventually([&] { return other.running_ == 1; }));
  }
  EXPECT_TRUE(eventually([&] { return other.running_ == 0; }));
  EXPECT_EQ(other.cancelled().size(), 1U);
  EXPECT_TRUE(backend_.cancelled().empty());
}

TEST_F(ServerTest, TwoModelsOfOneNameAreAMistake) {
  add_model("toy");
  std::vector<std::shared_ptr<Backend>> backends = {owned_, others_[0]};
  const auto server = Server::create(std::move(backends), {});
  ASSERT_FALSE(server);
  EXPECT_THAT(server.error().message, HasSubstr("--alias"));
}

class GroupTest : public ServerTest {
 protected:
  GroupTest() : large_(add_model("large")) {
    backend_.card_.group = large_.card_.group = "group";
    backend_.card_.accuracy = 0.93;
    large_.card_.accuracy = 0.99;
    backend_.forecast_ = {.finish_s = 1.0, .late_s = -1.0, .machine_s = 0.5};
    large_.forecast_ = {.finish_s = 2.0, .late_s = -1.0, .machine_s = 0.9};
  }

  std::string who_answers(std::string_view more = "", std::string_view headers = "") {
    const HttpReply reply = chat_with("group", more, headers);
    EXPECT_EQ(reply.status, 200) << reply.body;
    return reply.status == 200 ? std::string(reply.json().at("model").as_string()) : reply.body;
  }

  FakeBackend& large_;
};

TEST_F(GroupTest, TheCheapestThatIsAccurateEnough) {
  start();
  EXPECT_EQ(who_answers(), "toy");
  EXPECT_EQ(who_answers(R"("min_accuracy":0.93)"), "toy");
  EXPECT_EQ(who_answers(R"("min_accuracy":0.95)"), "large");
  EXPECT_EQ(who_answers("", "X-Edgewise-Min-Accuracy: 0.95\r\n"), "large");
  EXPECT_EQ(who_answers(R"("stream":false,"n":2)"), "toy");
  const HttpReply nobody = chat_with("group", R"("min_accuracy":0.995)");
  EXPECT_EQ(nobody.status, 400);
  EXPECT_EQ(nobody.error().at("code"), "accuracy_unavailable");
  EXPECT_THAT(std::string(nobody.error().at("message").as_string()), HasSubstr("0.99"));
  large_.forecast_.machine_s = 0.1;  // others run there already
  EXPECT_EQ(who_answers(), "large");
  EXPECT_EQ(chat_with("toy").json().at("model"), "toy");  // who is named answers
}

TEST_F(GroupTest, InTimeGoesBeforeCheap) {
  start();
  backend_.forecast_.late_s = 0.5;
  EXPECT_EQ(who_answers(R"("deadline_ms":5000)"), "large");
  large_.forecast_.late_s = 0.4;  // nobody in time: the least late, and its admission decides
  EXPECT_EQ(who_answers(R"("deadline_ms":5000)"), "large");
  large_.forecast_.late_s = 0.6;
  EXPECT_EQ(who_answers(R"("deadline_ms":5000)"), "toy");
  EXPECT_EQ(who_answers(R"("deadline_ms":5000,"min_accuracy":0.95)"), "large");
}

TEST_F(GroupTest, TheForecastIsOfThisRequest) {
  start();
  who_answers(R"("deadline_ms":5000,"max_tokens":9,"ignore_eos":true)");
  call("POST", "/v1/completions",
       R"({"model":"group","prompt":["ab","abcde"],"max_tokens":3,"first_token_deadline_ms":700})");
  ASSERT_EQ(backend_.asked_forecasts_.size(), 2U);
  const admission::Prospect& of_chat = backend_.asked_forecasts_[0];
  EXPECT_EQ(of_chat.prompt_tokens, 7);
  EXPECT_EQ(of_chat.max_tokens, 9);
  EXPECT_TRUE(of_chat.ignore_eos);
  EXPECT_TRUE(of_chat.deadline.has_value());
  const admission::Prospect& of_text = backend_.asked_forecasts_[1];
  EXPECT_EQ(of_text.prompt_tokens, 5);
  EXPECT_TRUE(of_text.first_token_deadline.has_value());
}

TEST_F(GroupTest, IsListedAndCounted) {
  start();
  const json::value list = call("GET", "/v1/models").json();
  ASSERT_EQ(list.at("data").as_array().size(), 3U);
  EXPECT_EQ(list.at("data").at(2).at("id"), "group");
  EXPECT_EQ(call("GET", "/v1/models/group").json().at("id"), "group");
  EXPECT_EQ(who_answers(R"("min_accuracy":0.95)"), "large");
  EXPECT_THAT(call("GET", "/metrics").body,
              HasSubstr("edgewise_tokens_total{kind=\"completion\",model=\"large\"} 4"));
}

TEST_F(GroupTest, HasMembersOfOneKindAndANameOfItsOwn) {
  const auto complaint = [&] {
    std::vector<std::shared_ptr<Backend>> backends = {owned_, others_[0]};
    const auto server = Server::create(std::move(backends), {});
    return server ? std::string() : server.error().message;
  };
  EXPECT_EQ(complaint(), "");
  large_.card_.vocab += 1;
  EXPECT_THAT(complaint(), HasSubstr("no quantizations of one model"));
  large_.card_.vocab -= 1;
  large_.card_.group = backend_.card_.group = "toy";
  EXPECT_THAT(complaint(), HasSubstr("name of a model"));
  large_.card_.group = backend_.card_.group = "vectors";
  backend_.card_.generates = false;
  EXPECT_THAT(complaint(), HasSubstr("embeddings"));
}

TEST_F(ServerTest, AsksForApiKeys) {
  ServerOptions options;
  options.api_keys = {{"first"}, {"second"}};
  start(std::move(options));
  EXPECT_EQ(chat().status, 401);
  EXPECT_EQ(chat("", "Authorization: Bearer wrong\r\n").error().at("code"), "invalid_api_key");
  EXPECT_EQ(chat("", "Authorization: Bearer firs\r\n").status, 401);
  EXPECT_EQ(chat("", "Authorization: Basic first\r\n").status, 401);
  EXPECT_EQ(chat("", "Authorization: Bearer first\r\n").status, 200);
  EXPECT_EQ(chat("", "authorization: bearer second\r\n").status, 200);
  EXPECT_NE(backend_.options_[0].tenant, backend_.options_[1].tenant);
  EXPECT_EQ(call("GET", "/health").status, 200);
  EXPECT_EQ(call("GET", "/ready").status, 200);
  EXPECT_EQ(call("GET", "/metrics").status, 401);
  EXPECT_EQ(call("GET", "/v1/models").status, 401);
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

TEST_F(ServerTest, CountsWhatItDoes) {
  start();
  chat();
  chat(R"("stream":true)");
  chat(R"("n":0)");
  call("GET", "/nothing");
  const std::string text = call("GET", "/metrics").body;
  EXPECT_THAT(
      text,
      HasSubstr(R"(edgewise_http_requests_total{route="/v1/chat/completions",status="200"} 2)"));
  EXPECT_THAT(
      text,
      HasSubstr(R"(edgewise_http_requests_total{route="/v1/chat/completions",status="400"} 1)"));
  EXPECT_THAT(text, HasSubstr(R"(edgewise_http_requests_total{route="other",status="404"} 1)"));
  EXPECT_THAT(text, HasSubstr("edgewise_tokens_total{kind=\"completion\",model=\"toy\"} 8"));
  EXPECT_THAT(text, HasSubstr("edgewise_time_to_first_token_seconds_count{model=\"toy\"} 2"));
  EXPECT_THAT(text, HasSubstr("edgewise_inter_token_seconds_count{model=\"toy\"} 6"));
  EXPECT_THAT(text, HasSubstr("edgewise_kv_blocks{model=\"toy\"} 10"));
  EXPECT_THAT(text, HasSubstr("vllm:time_to_first_token_seconds_count{model_name=\"toy\"} 2"));
  EXPECT_THAT(text, HasSubstr("vllm:request_success_total{finished_reason=\"stop\""));
  EXPECT_THAT(text, testing::ContainsRegex("gen_ai_server_request_duration_seconds_count.* 2"));
  EXPECT_THAT(text,
              HasSubstr("edgewise_refused_total{model=\"toy\",reason=\"deadline_unreachable\"} 0"));
}

TEST_F(ServerTest, EachRequestToAModelIsTraced) {
  std::mutex mutex;
  std::string taken;
  net::Router router;
  router.add("POST", "/", [&](const net::Request& q, const net::Responder& r) {
    const std::scoped_lock lock(mutex);
    taken += q.body;
    r.send({});
  });
  const auto collector = net::HttpServer::start({}, std::move(router)).value();
  trace::ExporterOptions exporting;
  exporting.url = fmt::format("http://127.0.0.1:{}/", collector->port());
  exporting.delay = 1ms;
  ServerOptions options;
  options.trace_exporter = trace::Exporter::create(exporting).value();
  backend_.card_.embeds = true;
  start(options);
  EXPECT_EQ(chat().status, 200);
  EXPECT_EQ(chat(R"("temperature":9)").status, 400);
  EXPECT_EQ(call("POST", "/v1/completions", R"({"model":"toy","prompt":"secret"})").status, 200);
  EXPECT_EQ(call("POST", "/v1/embeddings", R"({"model":"toy","input":"secret"})").status, 200);
  EXPECT_EQ(call("GET", "/v1/models").status, 200);
  EXPECT_EQ(
      chat("", "traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00\r\n").status,
      200);  // not recorded by its caller
  EXPECT_TRUE(eventually([&] {
    return call("GET", "/metrics").body.find("edgewise_trace_spans_sent_total 4") !=
           std::string::npos;
  }));
  const std::scoped_lock lock(mutex);
  for (const char* name : {"chat toy", "text_completion toy", "embeddings toy", "error.type",
                           "gen_ai.usage.output_tokens", "gen_ai.response.finish_reasons"}) {
    EXPECT_THAT(taken, HasSubstr(name));
  }
  EXPECT_THAT(taken, Not(HasSubstr("secret")));
}

TEST(ApiKeys, AreReadWithTheirPolicies) {
  const auto keys = parse_api_keys(
      "# team\nabc\n\n  def priority=2 deadline_ms=1500 \trequests_per_minute=60 share=0.5\r\n",
      '\n');
  ASSERT_TRUE(keys) << keys.error().message;
  ASSERT_EQ(keys->size(), 2U);
  EXPECT_EQ((*keys)[0].key, "abc");
  EXPECT_EQ((*keys)[0].policy.concurrent, 0);
  const ApiKey& second = (*keys)[1];
  EXPECT_EQ(second.key, "def");
  EXPECT_EQ(second.policy.defaults.priority, 2);
  EXPECT_EQ(second.policy.defaults.deadline, 1500ms);
  EXPECT_EQ(second.policy.requests_per_minute, 60);
  EXPECT_EQ(second.policy.share, 0.5);
  EXPECT_TRUE(parse_api_keys("# nobody\n", '\n')->empty());
  for (const char* wrong :
       {"k x", "k share=0", "k share=", "k color=red", "k priority=11", "k deadline_ms=1.5",
        "k concurrent=-1", "k ignore_eos=maybe", ":", "-- share=2", "sch\xC3\xB6n", "a\x01"}) {
    EXPECT_FALSE(parse_api_keys(wrong, ',')) << wrong;
  }
  EXPECT_EQ(parse_api_keys("team:sk-1_2.3~+/==\n", '\n')->at(0).key, "team:sk-1_2.3~+/==");
}

class KeyLimitsTest : public testing::Test {
 protected:
  void make(KeyPolicy policy) {
    keys_ = std::make_unique<ApiKeys>(std::vector<ApiKey>{{"a", policy}, {"b"}});
    limits_ = std::make_unique<KeyLimits>(*keys_, [this] { return now_; });
  }

  std::unique_ptr<ApiKeys> keys_;
  std::unique_ptr<KeyLimits> limits_;
  KeyLimits::Clock::time_point now_{};
};

TEST_F(KeyLimitsTest, RequestsAMinute) {
  make({.requests_per_minute = 6});
  for (int i = 0; i < 6; ++i) {
    EXPECT_TRUE(limits_->enter(0));
  }
  const auto refused = limits_->enter(0);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().status, 429);
  EXPECT_EQ(refused.error().code, "requests_per_minute_exceeded");
  EXPECT_NEAR(refused.error().retry_after_s, 10.0, 1e-6);
  EXPECT_TRUE(limits_->enter(1));  // the other key has its own
  now_ += 9s;
  EXPECT_FALSE(limits_->enter(0));
  now_ += 1s;
  EXPECT_TRUE(limits_->enter(0));
  EXPECT_FALSE(limits_->enter(0));
}

TEST_F(KeyLimitsTest, TokensAMinute) {
  make({.tokens_per_minute = 60});
  auto ticket = limits_->enter(0);
  ASSERT_TRUE(ticket);
  ticket->charge(100);  // 40 more than there were
  const auto refused = limits_->enter(0);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, "tokens_per_minute_exceeded");
  EXPECT_NEAR(refused.error().retry_after_s, 41.0, 1e-6);
  now_ += 42s;
  EXPECT_TRUE(limits_->enter(0));
}

TEST_F(KeyLimitsTest, RequestsAtOnce) {
  make({.concurrent = 2});
  auto first = limits_->enter(0);
  auto second = limits_->enter(0);
  EXPECT_EQ(limits_->enter(0).error().code, "concurrency_limit_exceeded");
  first = KeyLimits::Ticket();
  EXPECT_TRUE(limits_->enter(0));
  limits_.reset();
  second->charge(5);  // tickets may outlive the limits
}

}  // namespace
}  // namespace edgewise::api
