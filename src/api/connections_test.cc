// Clients that go away, do not read or come in numbers, and a server that stops.
#include <atomic>
#include <thread>

#include "api/server_fixture.h"

namespace edgewise::api {
namespace {

namespace json = boost::json;
using namespace std::chrono_literals;

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

}  // namespace
}  // namespace edgewise::api
