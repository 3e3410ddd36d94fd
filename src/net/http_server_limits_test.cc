// Large, slow, idle, vanished and too many clients.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <thread>

#include "net/test_client.h"
#include "net/test_server.h"

namespace edgewise::net {
namespace {

using namespace std::chrono_literals;
using testing::HasSubstr;
using testing::StartsWith;

TEST_F(HttpServerTest, TakesLargeBodiesUpToTheLimitAndRefusesLargerOnes) {
  HttpServerOptions options;
  options.limits.max_body_bytes = 8 * 1024 * 1024;
  const std::uint16_t port = start(std::move(options)).port();
  TestClient client(port);
  const std::string body(8 * 1024 * 1024, 'b');
  client.send("POST /size HTTP/1.1\r\nHost: x\r\nContent-Length: 8388608\r\n\r\n");
  client.send(body);
  EXPECT_THAT(client.receive("8388608"), HasSubstr("200 OK"));

  TestClient larger(port);
  larger.send("POST /size HTTP/1.1\r\nHost: x\r\nContent-Length: 8388609\r\n\r\n");
  larger.send(body);  // sends on regardless, as clients do
  larger.send("b");
  EXPECT_THAT(larger.receive(), StartsWith("HTTP/1.1 413 "));
}

TEST_F(HttpServerTest, RefusesHeaderFloods) {
  TestClient client(start().port());
  client.send("GET /hello HTTP/1.1\r\nHost: x\r\n");
  for (int i = 0;
       i < 10'000 && client.send("X-" + std::to_string(i) + ": flood flood flood flood\r\n"); ++i) {
  }
  EXPECT_THAT(client.receive(), StartsWith("HTTP/1.1 431 "));
  EXPECT_TRUE(client.was_closed());
}

TEST_F(HttpServerTest, SlowHeadersAndBodiesTimeOut) {
  HttpServerOptions options;
  options.header_timeout = 100ms;
  options.body_timeout = 200ms;
  const std::uint16_t port = start(std::move(options)).port();
  TestClient header(port);
  header.send("GET /hello HTTP/1.1\r\nHo");
  TestClient body(port);
  body.send("POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n");
  std::atomic<bool> stop = false;
  std::thread drip([&] {  // a byte now and then does not help
    while (!stop && body.send("x")) {
      std::this_thread::sleep_for(20ms);
    }
  });
  EXPECT_THAT(header.receive(), StartsWith("HTTP/1.1 408 "));
  EXPECT_THAT(body.receive("\r\n"), StartsWith("HTTP/1.1 408 "));
  stop = true;
  drip.join();
}

TEST_F(HttpServerTest, IdleConnectionsAreClosed) {
  HttpServerOptions options;
  options.idle_timeout = 100ms;
  TestClient client(start(std::move(options)).port());
  client.send(kGetHello);
  client.receive("hello");
  EXPECT_EQ(client.receive("", 5s), "");
  EXPECT_TRUE(client.was_closed());
}

TEST_F(HttpServerTest, TellsAtOnceWhenTheClientIsGone) {
  const std::uint16_t port = start().port();
  for (const bool abruptly : {false, true}) {
    probe_.held = {};
    probe_.disconnects = 0;
    TestClient client(port);
    client.send("GET /hold HTTP/1.1\r\nHost: x\r\n\r\n");
    const Responder responder = probe_.held.get_future().get();
    EXPECT_TRUE(responder.is_open());
    const auto left = std::chrono::steady_clock::now();
    abruptly ? client.reset() : client.hang_up();
    EXPECT_TRUE(eventually([&] { return probe_.disconnects == 1; }));
    EXPECT_LT(std::chrono::steady_clock::now() - left, 1s);
    EXPECT_FALSE(responder.send({}));
  }
}

TEST_F(HttpServerTest, TellsWhenAStreamingClientIsGone) {
  const std::uint16_t port = start().port();
  TestClient client(port);
  client.send("GET /hold HTTP/1.1\r\nHost: x\r\n\r\n");
  const Responder responder = probe_.held.get_future().get();
  responder.begin({});
  responder.write("some");
  client.receive("some");
  client.hang_up();
  EXPECT_TRUE(eventually([&] { return probe_.disconnects == 1; }));
  EXPECT_FALSE(responder.write("more"));
}

TEST_F(HttpServerTest, DropsReadersThatAreTooSlowForTheirStream) {
  HttpServerOptions options;
  options.max_queued_bytes = 1024 * 1024;
  TestClient client(start(std::move(options)).port(), 4096);
  client.send("GET /flood HTTP/1.1\r\nHost: x\r\n\r\n");
  EXPECT_TRUE(
      eventually([&] { return probe_.disconnects == 1; }, 20s));  // without reading anything
  probe_.writing = false;
  EXPECT_TRUE(eventually([&] { return server_->stats().connections == 0; }));
}

TEST_F(HttpServerTest, CutsWritesThatDoNotMove) {
  HttpServerOptions options;
  options.write_timeout = 200ms;
  options.max_queued_bytes = std::size_t{1} << 40;
  TestClient client(start(std::move(options)).port(), 4096);
  client.send("GET /flood HTTP/1.1\r\nHost: x\r\n\r\n");
  EXPECT_TRUE(eventually([&] { return probe_.disconnects == 1; }, 20s));
}

TEST_F(HttpServerTest, RefusesConnectionsOverTheLimit) {
  HttpServerOptions options;
  options.max_connections = 2;
  const std::uint16_t port = start(std::move(options)).port();
  TestClient a(port);
  TestClient b(port);
  a.send("GET /hold HTTP/1.1\r\nHost: x\r\n\r\n");
  const Responder responder = probe_.held.get_future().get();
  b.send("GET /busy HTTP/1.1\r\nHost: x\r\n\r\n");
  EXPECT_TRUE(eventually([&] { return server_->stats().active_requests == 2; }));
  TestClient c(port);
  EXPECT_THAT(c.receive(), StartsWith("HTTP/1.1 503 "));
  a.hang_up();
  EXPECT_TRUE(eventually([&] { return server_->stats().connections == 1; }));
  TestClient d(port);
  d.send(kGetHello);
  EXPECT_THAT(d.receive("hello"), HasSubstr("200 OK"));
}

TEST_F(HttpServerTest, TheLongestIdleConnectionMakesRoom) {
  HttpServerOptions options;
  options.max_connections = 3;
  const std::uint16_t port = start(std::move(options)).port();
  TestClient busy(port);
  busy.send("GET /hold HTTP/1.1\r\nHost: x\r\n\r\n");
  const Responder responder = probe_.held.get_future().get();
  TestClient silent(port);
  EXPECT_TRUE(eventually([&] { return server_->stats().connections == 2; }));
  TestClient kept(port);
  kept.send(kGetHello);
  kept.receive("hello");
  TestClient fresh(port);
  fresh.send(kGetHello);
  EXPECT_THAT(fresh.receive("hello"), HasSubstr("200 OK"));
  EXPECT_EQ(silent.receive(), "");  // closed
  kept.send(kGetHello);
  EXPECT_THAT(kept.receive("hello"), HasSubstr("200 OK"));
  responder.send({.body = "at last"});
  EXPECT_THAT(busy.receive("at last"), HasSubstr("200 OK"));
  EXPECT_EQ(server_->stats().refused_connections_total, 0);
}

TEST_F(HttpServerTest, WhoNeverEndsHisRequestMakesRoom) {
  for (const std::string unfinished :
       {"GET /hello HTTP/1.1\r\nX: ",
        "POST /echo HTTP/1.1\r\nHost: h\r\nContent-Length: 9\r\n\r\nx"}) {
    HttpServerOptions options;
    options.max_connections = 2;
    const std::uint16_t port = start(std::move(options)).port();
    TestClient oldest(port);
    oldest.send(unfinished);
    EXPECT_TRUE(eventually([&] { return server_->stats().connections == 1; }));
    TestClient other(port);
    other.send(unfinished);
    EXPECT_TRUE(eventually([&] { return server_->stats().connections == 2; }));
    TestClient fresh(port);
    fresh.send(kGetHello);
    EXPECT_THAT(fresh.receive("hello"), HasSubstr("200 OK"));
    EXPECT_EQ(oldest.receive(), "");  // closed
    EXPECT_EQ(server_->stats().refused_connections_total, 0);
  }
}

}  // namespace
}  // namespace edgewise::net
