// Answers over a limited link: what is merged, and what it must not change.
#include <map>

#include "api/server_fixture.h"

namespace edgewise::api {
namespace {

namespace json = boost::json;
using namespace std::chrono_literals;
using testing::HasSubstr;
using testing::Not;

constexpr double kSlow = 20'000.0;  // bytes/s

// What all chunks of a stream say together, of one choice.
struct Told {
  std::string content, reasoning, finish;
  std::map<std::int64_t, std::string> calls;  // "id name(arguments"
  json::array logprobs;
  int chunks = 0;
  bool has_role = false;

  void add(const json::value& choice) {
    ++chunks;
    if (choice.at("finish_reason").is_string()) {
      finish = choice.at("finish_reason").as_string();
    }
    if (!choice.at("logprobs").is_null()) {
      for (const json::value& token : choice.at("logprobs").at("content").as_array()) {
        logprobs.push_back(token);
      }
    }
    const json::object& delta = choice.at("delta").as_object();
    has_role = has_role || delta.contains("role");
    EXPECT_TRUE(has_role) << "the opening comes first";
    if (const auto* text = delta.if_contains("content")) {
      content += std::string(text->as_string());
    }
    if (const auto* text = delta.if_contains("reasoning_content")) {
      reasoning += std::string(text->as_string());
    }
    if (const auto* list = delta.if_contains("tool_calls")) {
      for (const json::value& call : list->as_array()) {
        std::string& told = calls[call.at("index").as_int64()];
        const json::object& function = call.at("function").as_object();
        if (const auto* id = call.as_object().if_contains("id")) {
          told += std::string(id->as_string()) + " " +
                  std::string(function.at("name").as_string()) + "(";
        }
        told += std::string(function.at("arguments").as_string());
      }
    }
  }
};

// Of an attribute in what a collector was sent (opentelemetry/proto/common/v1: KeyValue); -1: there is none.
std::int64_t attribute(std::string_view sent, std::string_view name) {
  const std::size_t key = sent.find(name);
  if (key == std::string_view::npos) {
    return -1;
  }
  std::string_view varint = sent.substr(key + name.size() + 3);  // behind two tags and a length
  std::int64_t value = 0;
  for (int shift = 0;; shift += 7) {
    const auto byte = static_cast<unsigned char>(varint.front());
    varint.remove_prefix(1);
    value |= static_cast<std::int64_t>(byte & 0x7FU) << shift;
    if (byte < 0x80U) {
      return value;
    }
  }
}

class LinkTest : public ServerTest {
 protected:
  void start(double bytes_per_s, std::shared_ptr<trace::Exporter> exporter = nullptr) {
    ServerOptions options;
    options.http.downlink_bytes_per_s = bytes_per_s;
    options.trace_exporter = std::move(exporter);
    ServerTest::start(std::move(options));
  }

  static std::map<std::int64_t, Told> told_by(const HttpReply& reply) {
    std::map<std::int64_t, Told> told;
    const std::vector<std::string> events = events_of(reply.body);
    EXPECT_EQ(events.back(), "[DONE]");
    for (std::size_t i = 0; i + 1 < events.size(); ++i) {
      const json::value chunk = json::parse(events[i]);
      for (const json::value& choice : chunk.at("choices").as_array()) {
        told[choice.at("index").as_int64()].add(choice);
      }
    }
    return told;
  }
};

TEST_F(LinkTest, MergedEventsSayTheSame) {
  backend_.script_.clear();
  for (int i = 0; i < 40; ++i) {
    chat::Delta& delta = backend_.script_.emplace_back();
    if (i < 10) {
      delta.reasoning = fmt::format("r{} ", i);
    } else if (i < 30) {
      delta.content = fmt::format("c{} \xF0\x9F\x8D\x8E", i);
    } else if (i % 5 == 0) {
      delta.tool_calls = {{(i - 30) / 5, fmt::format("call_{}", i), "add", ""}};
    } else {
      delta.tool_calls = {{(i - 30) / 5, "", "", fmt::format("[{}]", i)}};
    }
    chat::TokenLogprobs token;
    token.chosen = {i, fmt::format("t{}", i), -0.25F * static_cast<float>(i)};
    token.alternatives = {{i + 1, "B", -1.5F}};
    delta.logprobs = {token};
  }
  backend_.finish_ = chat::Finish::kToolCalls;
  backend_.pause_ = 500us;
  constexpr std::string_view kBody =
      R"("stream":true,"n":2,"logprobs":true,"top_logprobs":1,"tools":[{"type":"function","function":{"name":"add"}}])";
  start(0.0);
  const auto expected = told_by(chat(kBody));
  server_.reset();
  start(kSlow);
  const auto told = told_by(chat(kBody));
  ASSERT_EQ(told.size(), 2U);
  for (const auto& [index, choice] : told) {
    const Told& other = expected.at(index);
    EXPECT_EQ(choice.content, other.content);
    EXPECT_EQ(choice.reasoning, other.reasoning);
    EXPECT_EQ(choice.calls, other.calls);
    EXPECT_EQ(choice.logprobs, other.logprobs);
    EXPECT_EQ(choice.finish, other.finish);
    EXPECT_EQ(other.chunks, 42);
    EXPECT_LT(choice.chunks, 30);
  }
  EXPECT_THAT(call("GET", "/metrics").body,
              HasSubstr("edgewise_link_merged_tokens_total{model=\"toy\"}"));
}

TEST_F(LinkTest, MergedCompletionsKeepTheirOffsets) {
  backend_.script_.clear();
  for (int i = 0; i < 60; ++i) {
    chat::Delta& delta = backend_.script_.emplace_back();
    delta.content = fmt::format("\xC3\xA4{} ", i);
    chat::TokenLogprobs token;
    token.chosen = {i, delta.content, -0.5F};
    delta.logprobs = {token};
  }
  backend_.pause_ = 500us;
  start(kSlow);
  const std::vector<std::string> events = events_of(
      call("POST", "/v1/completions", R"({"model":"toy","prompt":"a","stream":true,"logprobs":0})")
          .body);
  std::string text;
  std::vector<std::int64_t> offsets;
  std::int64_t characters = 0;
  for (std::size_t i = 0; i + 1 < events.size(); ++i) {
    const json::value chunk = json::parse(events[i]);
    const json::value& choice = chunk.at("choices").at(0);
    text += std::string(choice.at("text").as_string());
    for (const json::value& offset : choice.at("logprobs").at("text_offset").as_array()) {
      offsets.push_back(offset.as_int64());
    }
  }
  ASSERT_EQ(offsets.size(), 60U);
  std::string expected;
  for (int i = 0; i < 60; ++i) {
    EXPECT_EQ(offsets[static_cast<std::size_t>(i)], characters);
    characters += 2 + std::ssize(std::to_string(i));
    expected += fmt::format("\xC3\xA4{} ", i);
  }
  EXPECT_EQ(text, expected);
  EXPECT_LT(events.size(), 50U);
}

TEST_F(LinkTest, AnErrorComesBehindWhatWasHeld) {
  backend_.repeats_ = 20;
  backend_.failure_ = Error{ErrorCode::kInternal, "broken"};
  start(kSlow);
  const std::vector<std::string> events = events_of(chat(R"("stream":true)").body);
  std::string text;
  for (std::size_t i = 0; i + 1 < events.size(); ++i) {
    const json::value chunk = json::parse(events[i]);
    const json::object& delta = chunk.at("choices").at(0).at("delta").as_object();
    text += std::string(delta.at("content").as_string());
  }
  std::string expected;
  for (int i = 0; i < 20; ++i) {
    expected += "Hello, world!";
  }
  EXPECT_EQ(text, expected);
  EXPECT_THAT(events.back(), HasSubstr("broken"));
}

// Also while the stream waits for its turn.
TEST_F(LinkTest, ADeadlineEndsAStreamThatWaits) {
  backend_.script_.assign(1, {});
  backend_.script_[0].content = std::string(3'000, 'x');
  backend_.repeats_ = 1'000;
  backend_.pause_ = 1ms;
  start(kSlow);
  TestClient client(server_->port());
  const std::string body =
      R"({"model":"toy","messages":[{"role":"user","content":"hi"}],"stream":true,"deadline_ms":500})";
  client.send(request_text("POST", "/v1/chat/completions", body));
  client.receive("assistant");
  EXPECT_TRUE(eventually([&] { return !backend_.cancelled().empty(); }, 3s));
  EXPECT_EQ(backend_.cancelled().size(), 1U);
}

TEST_F(LinkTest, WhatIsHeldCountsAgainstTheLimitOfSlowReaders) {
  backend_.script_.assign(1, {});
  backend_.script_[0].content = std::string(100'000, 'x');
  backend_.repeats_ = 1'000;
  start(kSlow);
  const std::string told = chat(R"("stream":true)").body;
  EXPECT_THAT(told, Not(HasSubstr("[DONE]")));
  EXPECT_LT(told.size(), 5U << 20U);
  EXPECT_LE(backend_.cancelled().size(), 1U);
}

TEST_F(LinkTest, EnginesAreToldWhatAnAnswerTakes) {
  backend_.script_.assign(50, {});
  for (chat::Delta& delta : backend_.script_) {
    delta.content = "twelve bytes";
  }
  start(1e6);
  for (int i = 0; i < 60; ++i) {
    chat(i % 2 == 0 ? R"("stream":true,"max_tokens":50)" : "");
  }
  const engine::Delivery streamed = backend_.options_[58].delivery;
  EXPECT_FALSE(streamed.at_once);
  // The text, and a sixteenth of an event of 250 bytes in a packet.
  EXPECT_NEAR(streamed.token_bytes, 12 * 1.04 + 300.0 / 16.0, 4.0);
  EXPECT_GT(streamed.fixed_bytes, 900.0);
  const engine::Delivery whole = backend_.options_[59].delivery;
  EXPECT_TRUE(whole.at_once);
  EXPECT_NEAR(whole.token_bytes, 12 * 1.04, 2.0);
  server_.reset();
  start(0.0);
  chat("");
  EXPECT_EQ(backend_.options_.back().delivery.bytes(100), 0.0);
}

TEST_F(LinkTest, ALinkThatIsTooSlowRefusesWithItsReason) {
  backend_.script_.clear();
  backend_.failure_ = Error{ErrorCode::kDeadlineUnreachable, "the link is too slow", 7.2};
  start(kSlow);
  for (const char* stream : {"false", "true"}) {
    const HttpReply reply = chat(fmt::format(R"("deadline_ms":1000,"stream":{})", stream));
    EXPECT_EQ(reply.status, 503);
    EXPECT_THAT(reply.head, HasSubstr("Retry-After: 8"));
    EXPECT_THAT(reply.body, HasSubstr("the link is too slow"));
    EXPECT_EQ(reply.error().at("code"), "deadline_unreachable");
  }
}

TEST_F(LinkTest, ATraceSaysHowLongAReplyWaited) {
  backend_.script_.assign(1, {});
  backend_.script_[0].content = std::string(12'000, 'x');
  for (const char* body : {"", R"("stream":true)"}) {
    const Collector collector;
    start(kSlow, collector.exporter());
    const auto begin = std::chrono::steady_clock::now();
    EXPECT_EQ(chat(body).status, 200);
    const std::chrono::duration<double, std::milli> took = std::chrono::steady_clock::now() - begin;
    const auto waited = [&] { return attribute(collector.taken(), "edgewise.link.wait_ms"); };
    EXPECT_TRUE(eventually([&] { return waited() >= 0; })) << body;
    EXPECT_GT(waited(), 300) << body;  // 12 kB at 20 kB/s, of which the bucket held 3 kB
    EXPECT_LE(static_cast<double>(waited()), took.count() + 1.0) << body;
    server_.reset();
  }
}

TEST_F(LinkTest, SaysWhetherThereIsALimit) {
  start(0.0);
  EXPECT_THAT(call("GET", "/health").body, HasSubstr(R"("downlink_kbps":null)"));
  EXPECT_THAT(call("GET", "/metrics").body, HasSubstr("edgewise_link_bytes_per_second 0"));
  server_.reset();
  start(32'000.0);
  EXPECT_THAT(call("GET", "/health").body, HasSubstr(R"("downlink_kbps":256)"));
  const std::string metrics = call("GET", "/metrics").body;
  for (const char* name :
       {"edgewise_link_bytes_per_second 32000", "edgewise_link_bytes_total ",
        "edgewise_link_payload_bytes_total ", "edgewise_link_late_replies_total 0",
        "edgewise_link_waiting_bytes 0", "edgewise_link_share_in_use "}) {
    EXPECT_THAT(metrics, HasSubstr(name));
  }
}

}  // namespace
}  // namespace edgewise::api
