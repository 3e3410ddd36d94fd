#include "net/http_server.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <future>
#include <thread>
#include <vector>

#include "net/test_client.h"
#include "net/test_server.h"

namespace edgewise::net {
namespace {

using namespace std::chrono_literals;
using testing::EndsWith;
using testing::HasSubstr;
using testing::StartsWith;

TEST_F(HttpServerTest, AnswersAndKeepsTheConnection) {
  TestClient client(start().port());
  for (int i = 0; i < 3; ++i) {
    client.send(kGetHello);
    const std::string reply = client.receive("hello");
    EXPECT_THAT(reply, StartsWith("HTTP/1.1 200 OK\r\n"));
    EXPECT_THAT(reply, HasSubstr("Content-Length: 5\r\n"));
    EXPECT_THAT(reply, HasSubstr("x-request-id: req_"));
  }
}

TEST_F(HttpServerTest, AnswersPipelinedRequestsInOrder) {
  TestClient client(start().port());
  std::string requests;
  for (int i = 0; i < 50; ++i) {
    requests +=
        "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\n" + std::to_string(1000 + i);
  }
  requests += "GET /hello HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
  client.send(requests);
  const std::string replies = client.receive();
  EXPECT_TRUE(client.was_closed());
  std::size_t at = 0;
  for (int i = 0; i < 50; ++i) {
    at = replies.find("\r\n\r\n" + std::to_string(1000 + i), at);
    ASSERT_NE(at, std::string::npos) << i;
  }
  EXPECT_THAT(replies, EndsWith("hello"));
}

TEST_F(HttpServerTest, ClosesAfterHttp10) {
  TestClient client(start().port());
  client.send("GET /stream HTTP/1.0\r\n\r\n");
  const std::string reply = client.receive();
  EXPECT_TRUE(client.was_closed());
  EXPECT_THAT(reply, EndsWith("\r\n\r\ndata: 0\n\ndata: 1\n\ndata: 2\n\n"));
}

TEST_F(HttpServerTest, StreamsInChunks) {
  TestClient client(start().port());
  client.send("GET /stream HTTP/1.1\r\nHost: x\r\n\r\n");
  const std::string reply = client.receive("\r\n0\r\n\r\n");
  EXPECT_THAT(reply, HasSubstr("Transfer-Encoding: chunked"));
  EXPECT_THAT(reply, HasSubstr("data: 2\n\n"));
  client.send(kGetHello);
  EXPECT_THAT(client.receive("hello"), HasSubstr("200 OK"));
}

TEST_F(HttpServerTest, HeadHasNoBody) {
  TestClient client(start().port());
  client.send("HEAD /hello HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
  const std::string reply = client.receive();
  EXPECT_THAT(reply, HasSubstr("Content-Length: 5\r\n"));
  EXPECT_THAT(reply, EndsWith("\r\n\r\n"));
}

TEST_F(HttpServerTest, SaysWhatIsNotThereAndWhatIsAllowed) {
  TestClient client(start().port());
  client.send("GET /nothing HTTP/1.1\r\nHost: x\r\n\r\n");
  EXPECT_THAT(client.receive("nothing."), StartsWith("HTTP/1.1 404 "));
  client.receive("\n");
  client.send("DELETE /hello HTTP/1.1\r\nHost: x\r\n\r\n");
  EXPECT_THAT(
      client.receive("\r\n\r\n"),
      testing::AllOf(StartsWith("HTTP/1.1 405 "), HasSubstr("Allow: GET, HEAD, OPTIONS\r\n")));
  client.receive("\n");
  client.send("OPTIONS /echo HTTP/1.1\r\nHost: x\r\n\r\n");
  EXPECT_THAT(client.receive("\r\n\r\n"),
              testing::AllOf(StartsWith("HTTP/1.1 204 "), HasSubstr("Allow: POST, OPTIONS\r\n")));
}

TEST_F(HttpServerTest, AnswersPreflights) {
  HttpServerOptions options;
  options.cors.origins = {"https://app.example"};
  TestClient client(start(std::move(options)).port());
  client.send(
      "OPTIONS /echo HTTP/1.1\r\nHost: x\r\nOrigin: "
      "https://app.example\r\nAccess-Control-Request-Method: POST\r\n"
      "Access-Control-Request-Headers: authorization, x-stainless-os\r\n\r\n");
  const std::string reply = client.receive("\r\n\r\n");
  EXPECT_THAT(reply, HasSubstr("Access-Control-Allow-Origin: https://app.example\r\n"));
  EXPECT_THAT(reply, HasSubstr("Access-Control-Allow-Headers: authorization, x-stainless-os\r\n"));
  EXPECT_THAT(reply, HasSubstr("Access-Control-Allow-Methods: POST, OPTIONS\r\n"));
  client.send(
      "POST /echo HTTP/1.1\r\nHost: x\r\nOrigin: https://evil.example\r\nContent-Length: "
      "1\r\n\r\nx");
  EXPECT_THAT(client.receive("\r\n\r\n"), StartsWith("HTTP/1.1 403 "));
}

TEST_F(HttpServerTest, TakesItsOwnPagesButNotThoseOfReboundNames) {
  start();
  const auto status = [&](const std::string& host, const std::string& origin) {
    TestClient client(server_->port());
    client.send("POST /echo HTTP/1.1\r\nHost: " + host + "\r\nOrigin: " + origin +
                "\r\nContent-Length: 1\r\n\r\nx");
    return client.receive("\r\n\r\n").substr(9, 3);
  };
  EXPECT_EQ(status("127.0.0.1:8080", "http://127.0.0.1:8080"), "200");
  EXPECT_EQ(status("localhost:8080", "http://localhost:8080"), "200");
  EXPECT_EQ(status("[::1]:8080", "http://[::1]:8080"), "200");
  EXPECT_EQ(status("[::1]", "http://[::1]"), "200");
  EXPECT_EQ(status("evil.example:8080", "http://evil.example:8080"), "403");
  EXPECT_EQ(status("127.0.0.1.evil.example", "http://127.0.0.1.evil.example"), "403");
  EXPECT_EQ(status("localhost.evil.example", "http://localhost.evil.example"), "403");
  EXPECT_EQ(status("[", "http://["), "403");
  EXPECT_EQ(status("127.0.0.1:8080", "http://127.0.0.1:9090"), "403");
  EXPECT_EQ(status("x", "null"), "403");
}

TEST_F(HttpServerTest, AnswersProbesWhileAllHandlersAreBusy) {
  HttpServerOptions options;
  options.handler_threads = 1;
  start(std::move(options));
  TestClient busy(server_->port());
  busy.send("GET /busy HTTP/1.1\r\nHost: x\r\n\r\n");
  const auto begin = std::chrono::steady_clock::now();
  for (int i = 0; i < 20; ++i) {
    TestClient client(server_->port());
    client.send("GET /quick HTTP/1.1\r\nHost: x\r\n\r\n");
    EXPECT_THAT(client.receive("\r\n\r\n"), StartsWith("HTTP/1.1 200 "));
  }
  EXPECT_LT(std::chrono::steady_clock::now() - begin, 1500ms);
  EXPECT_THAT(busy.receive("\r\n\r\n"), StartsWith("HTTP/1.1 200 "));
}

TEST_F(HttpServerTest, RefusesCompressedBodies) {
  TestClient client(start().port());
  client.send(
      "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Encoding: gzip\r\nContent-Length: 1\r\n\r\nx");
  EXPECT_THAT(client.receive("\r\n\r\n"), StartsWith("HTTP/1.1 415 "));
}

TEST_F(HttpServerTest, AsksForTheBodyWhenTheClientWaitsForThat) {
  TestClient client(start().port());
  client.send(
      "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n");
  EXPECT_EQ(client.receive("\r\n\r\n"), "HTTP/1.1 100 Continue\r\n\r\n");
  client.send("01234");
  EXPECT_THAT(client.receive("01234"), HasSubstr("200 OK"));
}

TEST_F(HttpServerTest, AForgottenRequestGetsA500) {
  TestClient client(start().port());
  client.send("GET /forget HTTP/1.1\r\nHost: x\r\n\r\n");
  EXPECT_THAT(client.receive("bug."), StartsWith("HTTP/1.1 500 "));
}

TEST_F(HttpServerTest, CallsBackAtTheAskedTime) {
  TestClient client(start().port());
  client.send("GET /hold HTTP/1.1\r\nHost: x\r\n\r\n");
  auto responder = std::make_unique<Responder>(probe_.held.get_future().get());
  const auto start_time = std::chrono::steady_clock::now();
  responder->call_at(start_time + 100ms, [&] { responder->send({.status = 504, .body = "late"}); });
  EXPECT_THAT(client.receive("late"), HasSubstr("504 Gateway Timeout"));
  EXPECT_GE(std::chrono::steady_clock::now() - start_time, 100ms);
}

TEST_F(HttpServerTest, DrainsRunningRequestsAndTakesNoNewOnes) {
  const std::uint16_t port = start().port();
  TestClient idle(port);
  TestClient busy(port);
  busy.send("GET /hold HTTP/1.1\r\nHost: x\r\n\r\n");
  auto responder = std::make_unique<Responder>(probe_.held.get_future().get());
  auto drained = std::async(std::launch::async, [&] { return server_->drain(10s); });
  idle.receive();
  EXPECT_TRUE(idle.was_closed());
  EXPECT_TRUE(eventually([&] {
    try {
      TestClient refused(port);
      return false;
    } catch (const std::runtime_error&) {
      return true;
    }
  }));
  EXPECT_EQ(drained.wait_for(50ms), std::future_status::timeout);
  responder->send({.body = "finished"});
  EXPECT_THAT(busy.receive(), testing::AllOf(HasSubstr("Connection: close"), EndsWith("finished")));
  EXPECT_TRUE(drained.get());
}

TEST_F(HttpServerTest, StopCutsWhatHangs) {
  TestClient client(start().port());
  client.send("GET /hold HTTP/1.1\r\nHost: x\r\n\r\n");
  const Responder responder = probe_.held.get_future().get();
  EXPECT_FALSE(server_->drain(50ms));
  server_->stop();
  EXPECT_EQ(probe_.disconnects, 1);
  EXPECT_FALSE(responder.send({}));
}

TEST_F(HttpServerTest, ServesManyClientsAtOnce) {
  const std::uint16_t port = start().port();
  std::atomic<int> good = 0;
  std::vector<std::thread> threads;
  for (int t = 0; t < 16; ++t) {
    threads.emplace_back([&, t] {
      TestClient client(port);
      for (int i = 0; i < 50; ++i) {
        const std::string body = std::to_string(t * 1000 + i) + "!";
        client.send("POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: " +
                    std::to_string(body.size()) + "\r\n\r\n" + body);
        good += client.receive("!").ends_with("\r\n\r\n" + body) ? 1 : 0;
      }
    });
  }
  for (std::thread& thread : threads) {
    thread.join();
  }
  EXPECT_EQ(good, 16 * 50);
}

TEST(HttpServer, ReportsAnAddressThatCannotBeUsed) {
  auto first = HttpServer::start({}, Router{});
  ASSERT_TRUE(first);
  HttpServerOptions same;
  same.port = (*first)->port();
  EXPECT_FALSE(HttpServer::start(same, Router{}));
  HttpServerOptions nowhere;
  nowhere.host = "no.such.host.invalid";
  EXPECT_FALSE(HttpServer::start(nowhere, Router{}));
  HttpServerOptions unset;  // "" is every address to a resolver
  unset.host = "";
  EXPECT_FALSE(HttpServer::start(unset, Router{}));
  HttpServerOptions elsewhere;
  elsewhere.host = "192.0.2.1";
  const auto refused = HttpServer::start(elsewhere, Router{});
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, ErrorCode::kInvalidArgument);
  HttpServerOptions half;
  half.tls_key_file = "key.pem";
  EXPECT_FALSE(HttpServer::start(half, Router{}));
}

}  // namespace
}  // namespace edgewise::net
