// The server over a limited link, with real sockets.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <memory>
#include <mutex>
#include <thread>

#include "net/http_server.h"
#include "net/test_client.h"

namespace edgewise::net {
namespace {

using namespace std::chrono_literals;
using testing::EndsWith;
using testing::HasSubstr;
using Clock = std::chrono::steady_clock;

constexpr double kRate = 64'000.0;  // bytes/s
constexpr std::string_view kEnd = "Connection: close\r\n\r\n";

double seconds_since(Clock::time_point begin) {
  return std::chrono::duration<double>(Clock::now() - begin).count();
}

class LinkTest : public testing::Test {
 protected:
  void start(HttpServerOptions options = {}) {
    Router router;
    router.add("GET", "/big", [this](const Request&, const Responder& r) {
      r.on_sent([this](Clock::duration waited) { waited_ms_ = waited / 1ms; });
      r.send({.content_type = "text/plain", .body = std::string(32'000, 'x')});
    });
    router.add_quick("GET", "/small", [](const Request&, const Responder& r) {
      r.send({.content_type = "text/plain", .body = "small"});
    });
    router.add("GET", "/urgent", [](const Request&, const Responder& r) {
      r.set_terms({.deadline = Clock::now() + 1s, .expected_bytes = 20'000.0});
      r.send({.content_type = "text/plain", .body = std::string(20'000, 'u')});
    });
    router.add("GET", "/merged", [this](const Request&, Responder r) { merge(std::move(r)); });
    router.add("GET", "/hold", [this](const Request&, Responder r) {
      r.on_disconnect([this] { ++disconnects_; });
      r.on_sent([this](Clock::duration waited) { waited_ms_ = waited / 1ms; });
      r.begin({.content_type = "text/plain"});
      r.write(std::string(1'000'000, 'x'));
      const std::scoped_lock lock(mutex_);
      held_.push_back(std::move(r));
    });
    options.downlink_bytes_per_s = kRate;
    auto server = HttpServer::start(std::move(options), std::move(router));
    ASSERT_TRUE(server) << server.error().message;
    server_ = std::move(*server);
  }

  // Writes 1,000 numbers as they are counted; the source tells those of a turn together.
  void merge(Responder responder) {
    responder.set_source([this] {
      const std::scoped_lock lock(mutex_);
      ++pieces_;
      return std::exchange(numbers_, {});
    });
    responder.begin({.content_type = "text/plain"});
    writer_ = std::thread([this, responder = std::move(responder)] {
      for (int i = 0; i < 1000; ++i) {
        const std::string number = std::to_string(i) + ",";
        {
          const std::scoped_lock lock(mutex_);
          numbers_ += number;
        }
        responder.offer(number.size());
        std::this_thread::sleep_for(500us);
      }
      std::string rest;
      {
        const std::scoped_lock lock(mutex_);
        rest = std::exchange(numbers_, {});
      }
      responder.write(rest + "end");
      responder.end();
    });
  }

  std::string get(std::string_view path) {
    TestClient client(server_->port());
    client.send("GET " + std::string(path) + " HTTP/1.1\r\nHost: x\r\n" + std::string(kEnd));
    return client.receive("", 60s);
  }

  // A client that asked for a megabyte and has begun to receive it.
  std::unique_ptr<TestClient> hog(int receive_buffer = 0) {
    auto client = std::make_unique<TestClient>(server_->port(), receive_buffer);
    client->send("GET /hold HTTP/1.1\r\nHost: x\r\n\r\n");
    client->receive("xxxx");
    return client;
  }

  void TearDown() override {
    if (server_) {
      server_->stop();
    }
    if (writer_.joinable()) {
      writer_.join();
    }
  }

  std::atomic<int> disconnects_ = 0;
  std::atomic<std::int64_t> waited_ms_ = -1;  // of the reply that was sent last
  std::mutex mutex_;
  std::string numbers_;
  int pieces_ = 0;
  std::vector<Responder> held_;
  std::thread writer_;
  std::unique_ptr<HttpServer> server_;
};

TEST_F(LinkTest, AllTogetherKeepToTheRate) {
  start();
  const auto begin = Clock::now();
  std::vector<std::thread> clients;
  std::atomic<std::size_t> bytes = 0;
  for (int i = 0; i < 4; ++i) {
    clients.emplace_back([&] {
      const std::string reply = get("/big");
      EXPECT_THAT(reply, EndsWith(std::string(32'000, 'x')));
      bytes += reply.size();
    });
  }
  for (std::thread& client : clients) {
    client.join();
  }
  const double seconds = seconds_since(begin);
  EXPECT_LE(static_cast<double>(bytes), kRate * seconds + 4'000.0);  // the bucket
  EXPECT_GT(static_cast<double>(bytes), 0.5 * kRate * seconds);
  const LinkStats stats = server_->stats().link;
  EXPECT_EQ(stats.payload_total, static_cast<std::int64_t>(bytes));
  EXPECT_GT(stats.bytes_total, stats.payload_total);
  EXPECT_EQ(stats.bytes_per_s, kRate);
  EXPECT_GT(stats.share_in_use, 0.5);
}

TEST_F(LinkTest, ShortRepliesGoAhead) {
  start();
  const auto other = hog();
  for (int i = 0; i < 3; ++i) {
    const auto begin = Clock::now();
    EXPECT_THAT(get("/small"), EndsWith("small"));
    EXPECT_LT(seconds_since(begin), 1.0);  // the hog's megabyte takes 16 s
  }
  EXPECT_TRUE(eventually([&] { return server_->stats().link.waiting_bytes > 100'000.0; }, 5s));
}

TEST_F(LinkTest, WhoHasADeadlineIsInTimeBesideOthers) {
  start();
  std::vector<std::unique_ptr<TestClient>> hogs;
  for (int i = 0; i < 8; ++i) {
    hogs.push_back(hog());
  }
  const auto begin = Clock::now();
  EXPECT_THAT(get("/urgent"), EndsWith(std::string(20'000, 'u')));
  EXPECT_LT(seconds_since(begin), 1.5);  // its ninth of the link would take 2.8 s
}

TEST_F(LinkTest, WhatComesWhileItWaitsIsToldTogether) {
  start();
  const auto other = hog();
  const std::string reply = get("/merged");
  const std::string text = without_chunks(reply.substr(reply.find("\r\n\r\n") + 4));
  std::string expected;
  for (int i = 0; i < 1000; ++i) {
    expected += std::to_string(i) + ",";
  }
  EXPECT_EQ(text, expected + "end");
  EXPECT_LT(pieces_, 300);
}

TEST_F(LinkTest, WhoWaitsForItsTurnAndLeavesIsNoticed) {
  start();
  hog(4096)->hang_up();
  EXPECT_TRUE(eventually([&] { return disconnects_ == 1; }, 5s));
  EXPECT_THAT(get("/small"), EndsWith("small"));
}

TEST_F(LinkTest, SaysHowLongAReplyWaited) {
  start();
  const auto begin = Clock::now();
  EXPECT_THAT(get("/big"), EndsWith("xxxx"));
  const double seconds = seconds_since(begin);
  EXPECT_TRUE(eventually([&] { return waited_ms_ >= 0; }, 5s));
  // 32 kB at 64 kB/s, of which the bucket held 3 kB.
  EXPECT_GT(waited_ms_, 350);
  EXPECT_LE(static_cast<double>(waited_ms_), 1000.0 * seconds);
}

TEST_F(LinkTest, WhoLeavesHasWaitedUntilThen) {
  start();
  const auto client = hog();
  waited_ms_ = -1;
  std::this_thread::sleep_for(300ms);
  client->hang_up();
  EXPECT_TRUE(eventually([&] { return waited_ms_ >= 0; }, 5s));
  EXPECT_GT(waited_ms_, 200);
}

TEST_F(LinkTest, WhoDoesNotReadTakesNobodysTurn) {
  HttpServerOptions options;
  options.write_timeout = 60s;
  start(options);
  const auto deaf = hog(4096);
  const auto begin = Clock::now();
  EXPECT_THAT(get("/big"), EndsWith("xxxx"));
  EXPECT_LT(seconds_since(begin), 3.0);
}

TEST(LinkTestOff, NothingIsCountedWithoutALink) {
  auto server = HttpServer::start({}, Router());
  ASSERT_TRUE(server);
  EXPECT_EQ((*server)->stats().link.bytes_per_s, 0.0);
}

}  // namespace
}  // namespace edgewise::net
