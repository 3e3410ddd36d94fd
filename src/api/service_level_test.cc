// Deadlines, priorities and accuracy, by field, header and key.
#include "api/auth.h"
#include "api/server_fixture.h"

namespace edgewise::api {
namespace {

namespace json = boost::json;

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

TEST_F(ServerTest, TheLongestAnswerComesFromFieldHeaderKeyAndRouteInThisOrder) {
  ServerOptions options;
  options.api_keys = *parse_api_keys("k max_tokens=7 min_tokens=4,plain min_tokens=20", ',');
  start(std::move(options));
  const std::string key = "Authorization: Bearer k\r\n";
  const std::string plain = "Authorization: Bearer plain\r\n";
  const std::string header = "X-Edgewise-Max-Tokens: 9\r\n";
  const auto of_chat = [&](std::string_view fields, const std::string& headers) {
    EXPECT_EQ(chat(fields, headers).status, 200);
    return backend_.options_.back();
  };
  const auto of_completion = [&](std::string_view fields, const std::string& headers) {
    const std::string body = fmt::format(R"({{"model":"toy","prompt":"x"{}}})", fields);
    EXPECT_EQ(call("POST", "/v1/completions", body, headers).status, 200);
    return backend_.options_.back();
  };
  EXPECT_EQ(of_chat(R"("max_completion_tokens":11)", key + header).max_tokens, 11);
  EXPECT_EQ(of_chat(R"("max_tokens":12)", key + header).max_tokens, 12);
  EXPECT_EQ(of_chat("", key + header).max_tokens, 9);
  EXPECT_EQ(of_chat("", key).max_tokens, 7);
  EXPECT_EQ(of_chat("", plain).max_tokens, -1);
  EXPECT_EQ(of_completion(R"(,"max_tokens":12)", key + header).max_tokens, 12);
  EXPECT_EQ(of_completion("", key + header).max_tokens, 9);
  EXPECT_EQ(of_completion("", key).max_tokens, 7);
  EXPECT_EQ(of_completion("", plain).max_tokens, 16);

  // A key's default gives way to what a request asks for.
  EXPECT_EQ(of_chat(R"("min_tokens":8)", key).max_tokens, 8);
  EXPECT_EQ(of_chat(R"("max_tokens":3)", key).min_tokens, 3);
  EXPECT_EQ(of_completion("", plain).min_tokens, 16);
}

TEST_F(ServerTest, RefusesServiceLevelsThatMakeNoSense) {
  start();
  const auto code = [&](const HttpReply& reply) {
    EXPECT_EQ(reply.status, 400);
    return std::string(reply.error().at("code").as_string());
  };
  EXPECT_EQ(code(chat("", "X-Edgewise-Deadline: 5\r\n")), "unknown_header");
  EXPECT_EQ(code(chat("", "X-Edgewise-Deadline-Ms: soon\r\n")), "invalid_value");
  EXPECT_EQ(code(chat("", "X-Edgewise-Priority: 1\r\nx-edgewise-priority: 2\r\n")),
            "invalid_value");
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
  EXPECT_EQ(code(chat(R"("max_tokens":5,"min_tokens":6)")), "invalid_value");
  EXPECT_EQ(code(chat("", "X-Edgewise-Max-Tokens: 0\r\n")), "invalid_value");
  EXPECT_EQ(
      code(call("POST", "/v1/completions", R"({"model":"toy","prompt":"a","min_tokens":17})")),
      "invalid_value");
  EXPECT_FALSE(parse_api_key("k max_tokens=0"));
}

TEST_F(ServerTest, HoldsAccuracyDemandsAgainstWhatWasMeasured) {
  start();
  EXPECT_EQ(chat(R"("min_accuracy":0.9)").error().at("code"), "accuracy_unavailable");
  EXPECT_EQ(chat(R"("min_accuracy":0)").status, 200);
  backend_.card_.accuracy = 0.95;
  EXPECT_EQ(chat(R"("min_accuracy":0.9)").status, 200);
  EXPECT_EQ(chat(R"("min_accuracy":0.96)").status, 400);
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

}  // namespace
}  // namespace edgewise::api
