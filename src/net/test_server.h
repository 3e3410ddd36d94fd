// A server with handlers that answer, hold, stream and flood, for the tests of the HTTP server. Test-only.
#pragma once

#include <gtest/gtest.h>

#include <atomic>
#include <future>
#include <memory>
#include <string>
#include <thread>

#include "net/http_server.h"

namespace edgewise::net {

// What the handlers of a test server keep for the test to look at.
struct Probe {
  std::promise<Responder> held;
  std::atomic<int> disconnects = 0;
  std::atomic<bool> writing = true;
  std::thread writer;

  ~Probe() {
    writing = false;
    if (writer.joinable()) {
      writer.join();
    }
  }
};

inline Router test_router(Probe& probe) {
  Router router;
  router.add("GET", "/hello", [](const Request&, const Responder& r) {
    r.send({.content_type = "text/plain", .body = "hello"});
  });
  router.add("POST", "/echo", [](const Request& q, const Responder& r) {
    r.send({.content_type = "text/plain", .body = q.body});
  });
  router.add("POST", "/size", [](const Request& q, const Responder& r) {
    r.send({.body = std::to_string(q.body.size())});
  });
  router.add_quick("GET", "/quick", [](const Request&, const Responder& r) { r.send({}); });
  router.add("GET", "/busy", [](const Request&, const Responder& r) {
    std::this_thread::sleep_for(std::chrono::seconds(2));
    r.send({});
  });
  router.add("GET", "/forget", [](const Request&, const Responder&) {});
  router.add("GET", "/hold", [&probe](const Request&, Responder r) {
    r.on_disconnect([&probe] { ++probe.disconnects; });
    probe.held.set_value(std::move(r));
  });
  router.add("GET", "/stream", [](const Request&, const Responder& r) {
    r.begin({.content_type = "text/event-stream"});
    for (int i = 0; i < 3; ++i) {
      r.write("data: " + std::to_string(i) + "\n\n");
    }
    r.end();
  });
  router.add("GET", "/flood", [&probe](const Request&, Responder r) {
    r.on_disconnect([&probe] { ++probe.disconnects; });
    probe.writer = std::thread([&probe, r = std::move(r)] {
      r.begin({});
      const std::string piece(64 * 1024, 'x');
      while (probe.writing && r.write(piece)) {
        std::this_thread::sleep_for(std::chrono::milliseconds(1));
      }
    });
  });
  return router;
}

class HttpServerTest : public ::testing::Test {
 protected:
  HttpServer& start(HttpServerOptions options = {}) {
    auto server = HttpServer::start(std::move(options), test_router(probe_));
    EXPECT_TRUE(server) << server.error().message;
    server_ = std::move(*server);
    return *server_;
  }

  void TearDown() override {
    probe_.writing = false;
    if (server_) {
      server_->stop();
    }
  }

  Probe probe_;
  std::unique_ptr<HttpServer> server_;
};

inline constexpr std::string_view kGetHello = "GET /hello HTTP/1.1\r\nHost: x\r\n\r\n";

}  // namespace edgewise::net
