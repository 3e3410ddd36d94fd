#include "trace/exporter.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <atomic>
#include <mutex>
#include <thread>

#include "net/http_server.h"

namespace edgewise::trace {
namespace {

using namespace std::chrono_literals;
using Clock = std::chrono::steady_clock;

// A collector that answers as it is told.
class Collector {
 public:
  Collector() {
    net::Router router;
    router.add("POST", "/v1/traces", [this](const net::Request& q, const net::Responder& r) {
      {
        const std::scoped_lock lock(mutex_);
        requests_.push_back(q);
      }
      if (status_ == 0) {  // never answers
        const std::scoped_lock lock(mutex_);
        held_.push_back(r);
      } else {
        r.send({.status = status_,
                .content_type = "application/x-protobuf",
                .headers = {{"Location", "/elsewhere"}},
                .body = reply_});
      }
    });
    server_ = net::HttpServer::start({}, std::move(router)).value();
  }

  ~Collector() {
    const std::scoped_lock lock(mutex_);
    held_.clear();  // before the server goes
  }

  ExporterOptions options() const {
    ExporterOptions options;
    options.url = fmt::format("http://127.0.0.1:{}/v1/traces", server_->port());
    options.delay = 10ms;
    return options;
  }

  std::vector<net::Request> requests() {
    const std::scoped_lock lock(mutex_);
    return requests_;
  }

  std::atomic<int> status_ = 200;
  std::string reply_;

 private:
  std::mutex mutex_;
  std::vector<net::Request> requests_;
  std::vector<net::Responder> held_;
  std::unique_ptr<net::HttpServer> server_;
};

std::vector<Span> spans(int count) {
  std::vector<Span> result(static_cast<std::size_t>(count));
  for (Span& span : result) {
    span.trace = new_trace_id();
    span.id = new_span_id();
    span.name = "work";
  }
  return result;
}

template <typename Predicate>
bool eventually(Predicate predicate) {
  const auto deadline = Clock::now() + 20s;
  while (!predicate()) {
    if (Clock::now() > deadline) {
      return false;
    }
    std::this_thread::sleep_for(1ms);
  }
  return true;
}

std::int64_t lost(const ExportCounts& counts) {
  return counts.lost_queue_full + counts.lost_refused + counts.lost_unreachable;
}

TEST(Exporter, SendsWhatItIsGivenInBatches) {
  Collector collector;
  ExporterOptions options = collector.options();
  options.max_batch = 10;
  options.headers = {{"x-team", "blue"}};
  const auto exporter = Exporter::create(options).value();
  for (int i = 0; i < 5; ++i) {
    exporter->add(spans(7));
  }
  ASSERT_TRUE(eventually([&] { return exporter->counts().sent == 35; }));
  EXPECT_EQ(lost(exporter->counts()), 0);
  const auto requests = collector.requests();
  EXPECT_GE(requests.size(), 4U);
  EXPECT_EQ(requests[0].header("Content-Type"), "application/x-protobuf");
  EXPECT_EQ(requests[0].header("x-team"), "blue");
}

TEST(Exporter, SendsWhatIsLeftAtItsEnd) {
  Collector collector;
  ExporterOptions options = collector.options();
  options.delay = 1h;
  Exporter::create(options).value()->add(spans(3));
  EXPECT_EQ(collector.requests().size(), 1U);
}

TEST(Exporter, CountsWhatTheCollectorDoesNotTake) {
  Collector collector;
  const auto exporter = Exporter::create(collector.options()).value();
  for (const int status : {400, 503, 307}) {
    collector.status_ = status;
    const std::int64_t before = exporter->counts().lost_refused;
    exporter->add(spans(2));
    EXPECT_TRUE(eventually([&] { return exporter->counts().lost_refused == before + 2; }))
        << status;
  }
  EXPECT_EQ(collector.requests().size(), 3U);  // and follows nobody elsewhere
  collector.reply_ = "\x0a\x02\x08\x01";       // one was rejected
  collector.status_ = 200;
  exporter->add(spans(5));
  EXPECT_TRUE(eventually([&] { return exporter->counts().sent == 4; }));
  EXPECT_EQ(exporter->counts().lost_refused, 7);
}

TEST(Exporter, ACollectorThatIsNotThereLosesSpansAndNothingElse) {
  auto collector = std::make_unique<Collector>();
  const auto exporter = Exporter::create(collector->options()).value();
  exporter->add(spans(1));
  ASSERT_TRUE(eventually([&] { return exporter->counts().sent == 1; }));
  collector.reset();
  exporter->add(spans(4));
  EXPECT_TRUE(eventually([&] { return exporter->counts().lost_unreachable == 4; }));
}

// The queue is bounded, adding never waits, and the end comes soon.
TEST(Exporter, ACollectorThatNeverAnswersHoldsUpNobody) {
  Collector collector;
  collector.status_ = 0;
  ExporterOptions options = collector.options();
  options.max_queued = 100;
  options.last_words = 50ms;
  auto exporter = Exporter::create(options).value();
  exporter->add(spans(1));
  ASSERT_TRUE(eventually([&] { return collector.requests().size() == 1; }));
  const auto begin = Clock::now();
  for (int i = 0; i < 1000; ++i) {
    exporter->add(spans(3));
  }
  EXPECT_LT(Clock::now() - begin, 2s);
  EXPECT_EQ(exporter->counts().lost_queue_full, 3000 - 99);
  exporter.reset();
  EXPECT_LT(Clock::now() - begin, 5s);
}

TEST(Exporter, ABatchHasItsTimeAndNoMore) {
  Collector collector;
  collector.status_ = 0;
  ExporterOptions options = collector.options();
  options.timeout = 100ms;
  const auto exporter = Exporter::create(options).value();
  exporter->add(spans(2));
  EXPECT_TRUE(eventually([&] { return exporter->counts().lost_unreachable == 2; }));
}

TEST(Exporter, RefusesWhatIsNoAddress) {
  ExporterOptions options;
  options.url = "collector:4318";
  EXPECT_FALSE(Exporter::create(options).has_value());
}

}  // namespace
}  // namespace edgewise::trace
