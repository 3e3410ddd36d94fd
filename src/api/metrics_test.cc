// What is counted and traced.
#include "api/metrics.h"

#include <sstream>
#include <thread>

#include "api/server_fixture.h"

namespace edgewise::api {
namespace {

using testing::HasSubstr;
using testing::Not;

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

// Lines of counters, whose names end in _total.
std::string totals(const std::string& text) {
  std::istringstream lines(text);
  std::string found;
  for (std::string line; std::getline(lines, line);) {
    found += line.find("_total{") != std::string::npos ? line + "\n" : "";
  }
  return found;
}

TEST(Metrics, CountersShowTheSameHoweverManyLookAtOnce) {
  const std::vector<std::string> models = {"toy"};
  engine::EngineStats engine;
  engine.prompt_tokens_total = engine.completion_tokens_total = engine.drafted_tokens_total = 1000;
  engine.selections_total = engine.preemptions_total = engine.deadlines_met_total = 1000;
  const std::vector<std::pair<std::string, engine::EngineStats>> engines = {{"toy", engine}};
  Metrics alone(models);
  const std::string expected = totals(alone.text(engines, {}, {.sent = 1000}));
  EXPECT_THAT(expected, HasSubstr("vllm:generation_tokens_total{model_name=\"toy\"} 1000"));
  for (int round = 0; round < 200 && !HasFailure(); ++round) {
    Metrics metrics(models);
    std::vector<std::jthread> readers;
    for (int i = 0; i < 4; ++i) {
      readers.emplace_back([&] { metrics.text(engines, {}, {.sent = 1000}); });
    }
    readers.clear();
    EXPECT_EQ(totals(metrics.text(engines, {}, {.sent = 1000})), expected);
  }
}

TEST_F(ServerTest, EachRequestToAModelIsTraced) {
  const Collector collector;
  ServerOptions options;
  options.trace_exporter = collector.exporter();
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
  const std::string taken = collector.taken();
  for (const char* name : {"chat toy", "text_completion toy", "embeddings toy", "error.type",
                           "gen_ai.usage.output_tokens", "gen_ai.response.finish_reasons"}) {
    EXPECT_THAT(taken, HasSubstr(name));
  }
  EXPECT_THAT(taken, Not(HasSubstr("secret")));
  EXPECT_THAT(taken, Not(HasSubstr("edgewise.link")));
}

}  // namespace
}  // namespace edgewise::api
