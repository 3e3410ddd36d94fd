// Test only: a server over fake models, asked over real sockets.
#pragma once

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <boost/json.hpp>
#include <chrono>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

#include "api/fake_backend.h"
#include "api/server.h"
#include "net/test_client.h"
#include "trace/exporter.h"

namespace edgewise::api {

using net::eventually;
using net::TestClient;

struct HttpReply {
  int status = 0;
  std::string head, body;

  boost::json::value json() const { return boost::json::parse(body); }

  boost::json::value error() const { return json().at("error"); }
};

// The payloads of a stream of events, chunk framing removed.
inline std::vector<std::string> events_of(std::string_view chunked) {
  const std::string text = net::without_chunks(chunked);
  std::vector<std::string> events;
  for (std::size_t start = 0; start < text.size();) {
    const std::size_t end = text.find("\n\n", start);
    EXPECT_EQ(text.substr(start, 6), "data: ");
    events.push_back(text.substr(start + 6, end - start - 6));
    start = end + 2;
  }
  return events;
}

// What a server sends to a collector of traces.
class Collector {
 public:
  Collector() {
    net::Router router;
    router.add("POST", "/", [this](const net::Request& request, const net::Responder& responder) {
      const std::scoped_lock lock(mutex_);
      taken_ += request.body;
      responder.send({});
    });
    server_ = net::HttpServer::start({}, std::move(router)).value();
  }

  // Of a server: sends to this, at once.
  std::shared_ptr<trace::Exporter> exporter() const {
    trace::ExporterOptions options;
    options.url = fmt::format("http://127.0.0.1:{}/", server_->port());
    options.delay = std::chrono::milliseconds(1);
    return trace::Exporter::create(options).value();
  }

  std::string taken() const {
    const std::scoped_lock lock(mutex_);
    return taken_;
  }

 private:
  mutable std::mutex mutex_;
  std::string taken_;
  std::unique_ptr<net::HttpServer> server_;
};

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

  static std::string request_text(std::string_view method,
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
    const std::string text = client.receive("", std::chrono::minutes(1));
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

  std::shared_ptr<FakeBackend> owned_;
  FakeBackend& backend_;
  std::vector<std::shared_ptr<FakeBackend>> others_;
  std::unique_ptr<Server> server_;
};

}  // namespace edgewise::api
