#include "net/request_reader.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <string>

namespace edgewise::net {
namespace {

struct Outcome {
  RequestReader::Progress progress = RequestReader::Progress::kNeedMore;
  Request request;
  int status = 0;
  std::size_t consumed = 0;
};

// Feeds `bytes` in pieces of `piece` bytes, as a socket would.
Outcome read(std::string_view bytes, RequestLimits limits = {}, std::size_t piece = 1 << 20) {
  RequestReader reader(limits);
  Outcome outcome;
  std::string input;
  std::size_t next = 0;
  for (;;) {
    const RequestReader::Step step = reader.feed(input);
    input.erase(0, step.consumed);
    outcome.consumed += step.consumed;
    outcome.progress = step.progress;
    if (step.progress == RequestReader::Progress::kFailed) {
      outcome.status = reader.error_status();
      return outcome;
    }
    if (step.progress == RequestReader::Progress::kDone) {
      outcome.request = reader.request();
      return outcome;
    }
    if (step.progress == RequestReader::Progress::kHeaderDone || step.consumed > 0) {
      continue;
    }
    if (next >= bytes.size()) {
      return outcome;
    }
    input += bytes.substr(next, piece);
    next += piece;
  }
}

constexpr std::string_view kPost =
    "POST /v1/x?a=b HTTP/1.1\r\nHost: h\r\ncontent-length: 5\r\nX-A: 1\r\n\r\nhelloGET / "
    "HTTP/1.1\r\n";

TEST(RequestReader, ReadsMethodTargetHeadersAndBodyAndLeavesWhatFollows) {
  const Outcome outcome = read(kPost);
  ASSERT_EQ(outcome.progress, RequestReader::Progress::kDone);
  EXPECT_EQ(outcome.request.method, "POST");
  EXPECT_EQ(outcome.request.path, "/v1/x");
  EXPECT_EQ(outcome.request.query, "a=b");
  EXPECT_EQ(outcome.request.header("x-a"), "1");
  EXPECT_EQ(outcome.request.body, "hello");
  EXPECT_EQ(kPost.substr(outcome.consumed), "GET / HTTP/1.1\r\n");
}

TEST(RequestReader, TakesThePathOfAWholeAddress) {  // RFC 9112, 3.2.2
  const auto request = [](const std::string& target) {
    return read("GET " + target + " HTTP/1.1\r\nHost: h\r\n\r\n").request;
  };
  EXPECT_EQ(request("http://h:80/v1/models?a=b").path, "/v1/models");
  EXPECT_EQ(request("http://h:80/v1/models?a=b").query, "a=b");
  EXPECT_EQ(request("http://h").path, "/");
  EXPECT_EQ(request("/v1/models/http://h/x").path, "/v1/models/http://h/x");
}

TEST(RequestReader, ReadsChunkedBodies) {
  const Outcome outcome = read(
      "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: "
      "chunked\r\n\r\n3\r\nabc\r\nA;x=y\r\n0123456789\r\n0\r\n\r\n",
      {}, 1);
  ASSERT_EQ(outcome.progress, RequestReader::Progress::kDone);
  EXPECT_EQ(outcome.request.body, "abc0123456789");
}

RC_GTEST_PROP(RequestReader, TheSplitDoesNotMatter, ()) {
  const auto piece = *rc::gen::inRange<std::size_t>(1, 100);
  const Outcome outcome = read(kPost, {}, piece);
  RC_ASSERT(outcome.progress == RequestReader::Progress::kDone);
  RC_ASSERT(outcome.request.body == "hello");
}

RC_GTEST_PROP(RequestReader, DamagedRequestsEndWithAnAnswerNotACrash, (const std::string& noise)) {
  std::string bytes(kPost);
  const auto at = *rc::gen::inRange<std::size_t>(0, bytes.size());
  bytes.replace(at, noise.size() % 4, noise);
  const Outcome outcome = read(bytes, {}, *rc::gen::inRange<std::size_t>(1, 200));
  if (outcome.progress == RequestReader::Progress::kFailed) {
    RC_ASSERT(outcome.status >= 400 && outcome.status < 600);
  }
}

TEST(RequestReader, RefusesWhatIsTooLarge) {
  const RequestLimits limits{.max_header_bytes = 200, .max_body_bytes = 10};
  EXPECT_EQ(read("GET / HTTP/1.1\r\nHost: h\r\nX: " + std::string(500, 'x'), limits, 7).status,
            431);
  EXPECT_EQ(read("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 11\r\n\r\n", limits).status, 413);
  EXPECT_EQ(
      read("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 10\r\n\r\n0123456789", limits).progress,
      RequestReader::Progress::kDone);
  EXPECT_EQ(read("POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: "
                 "chunked\r\n\r\n8\r\n01234567\r\n8\r\n01234567\r\n",
                 limits, 3)
                .status,
            413);
}

TEST(RequestReader, CountsHeadersThatArriveTogether) {
  const RequestLimits limits{.max_header_bytes = 200};
  std::string flood = "GET / HTTP/1.1\r\nHost: h\r\n";
  while (flood.size() < 400) {
    flood += "X: y\r\n";
  }
  EXPECT_EQ(read(flood + "\r\n", limits).status, 431);
  EXPECT_EQ(read("GET / HTTP/1.1\r\nHost: h\r\n\r\n" + flood + "\r\n", limits).progress,
            RequestReader::Progress::kDone);
}

// Each piece ends in the beginning of a field's name, so that the parser takes all fields before it.
TEST(RequestReader, CountsHeadersThatArriveInWellCutPieces) {
  const RequestLimits limits{.max_header_bytes = 200};
  std::string flood = "GET / HTTP/1.1\r\nHost: h\r\nX";
  const std::size_t piece = flood.size();
  const std::string field = "-aaaaaaaaa: bbbbbbbbbbb\r\nX";
  ASSERT_EQ(field.size(), piece);
  while (flood.size() < 400) {
    flood += field;
  }
  EXPECT_EQ(read(flood + ": y\r\n\r\n", limits, piece).status, 431);
}

TEST(RequestReader, RefusesAmbiguousFraming) {  // request smuggling (RFC 9112, 6.3)
  EXPECT_EQ(read("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\nTransfer-Encoding: "
                 "chunked\r\n\r\nabc")
                .status,
            400);
  EXPECT_EQ(read("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabc")
                .status,
            400);
  EXPECT_EQ(read("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: -3\r\n\r\nabc").status, 400);
  for (const std::string coding :
       {"identity", "xchunked", "chunked, identity", "gzip, chunked", "chunked, chunked", ""}) {
    EXPECT_EQ(
        read("POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: " + coding + "\r\n\r\n0\r\n\r\n")
            .status,
        501)
        << coding;
  }
  EXPECT_EQ(
      read("POST / HTTP/1.0\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n").status,
      400);
  EXPECT_EQ(read("GET / HTTP/1.1\r\n\r\n").status, 400);
  EXPECT_EQ(read("GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n").status, 400);
  EXPECT_EQ(read("GET / HTTP/2.0\r\nHost: a\r\n\r\n").status, 505);
  EXPECT_EQ(read("\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 a TLS hello\r\n\r\n").status, 400);
}

}  // namespace
}  // namespace edgewise::net
