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
