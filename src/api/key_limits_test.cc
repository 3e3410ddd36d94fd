// Who has which key, and how much it may ask for.
#include "api/key_limits.h"

#include "api/auth.h"
#include "api/server_fixture.h"

namespace edgewise::api {
namespace {

using namespace std::chrono_literals;
using testing::HasSubstr;

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
  EXPECT_EQ(parse_api_keys("a\n# b\nc share=0\n", '\n').error().message.find("line 3: "), 0U);
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

TEST_F(ServerTest, WhatIsRefusedCostsNoWork) {
  ServerOptions options;
  options.api_keys = *parse_api_keys("a requests_per_minute=1", ',');
  start(std::move(options));
  const auto complete = [&](std::string_view more) {
    return call("POST", "/v1/completions",
                fmt::format(R"({{"model":"toy","prompt":["x","y"]{}}})", more),
                "Authorization: Bearer a\r\n");
  };
  EXPECT_EQ(complete(R"(,"deadline_ms":10,"first_token_deadline_ms":20)").status, 400);
  EXPECT_EQ(backend_.encoded_, 0);
  EXPECT_EQ(complete("").status, 200);
  EXPECT_EQ(backend_.encoded_, 2);
  EXPECT_EQ(complete("").status, 429);
  EXPECT_EQ(backend_.encoded_, 2);
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

}  // namespace
}  // namespace edgewise::api
