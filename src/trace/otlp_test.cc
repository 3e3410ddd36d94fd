// That others can read it is tested end to end, by the official Python package.
#include "trace/otlp.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <limits>

#include "trace/protobuf_writer.h"

namespace edgewise::trace {
namespace {

std::string bytes(std::initializer_list<int> values) {
  std::string text;
  for (const int value : values) {
    text += static_cast<char>(value);
  }
  return text;
}

// The examples of the encoding's specification.
TEST(ProtobufWriter, WritesWhatTheSpecificationShows) {
  EXPECT_EQ(ProtobufWriter().varint(1, 150).take(), bytes({0x08, 0x96, 0x01}));
  EXPECT_EQ(ProtobufWriter().bytes(2, "testing").take(), bytes({0x12, 0x07}) + "testing");
  EXPECT_EQ(ProtobufWriter().message(3, ProtobufWriter().varint(1, 150)).take(),
            bytes({0x1a, 0x03, 0x08, 0x96, 0x01}));
}

TEST(ProtobufWriter, WritesTheEndsOfItsNumbers) {
  EXPECT_EQ(ProtobufWriter().varint(1, 0).take(), bytes({0x08, 0x00}));
  EXPECT_EQ(ProtobufWriter().varint(1, std::numeric_limits<std::uint64_t>::max()).take(),
            bytes({0x08, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01}));
  EXPECT_EQ(ProtobufWriter().fixed64(16, 0x0102030405060708).take(),
            bytes({0x81, 0x01, 8, 7, 6, 5, 4, 3, 2, 1}));
}

TEST(Otlp, SaysWhoTheSpansComeFrom) {
  const std::string text = encode_otlp({"my service", "1.2"}, {});
  EXPECT_NE(text.find("service.name"), std::string::npos);
  EXPECT_NE(text.find("my service"), std::string::npos);
}

TEST(Otlp, CountsWhatTheCollectorRejects) {
  EXPECT_EQ(rejected_spans(""), 0);
  const auto reply = [](const ProtobufWriter& partial) {
    return ProtobufWriter().message(1, partial).take();
  };
  EXPECT_EQ(rejected_spans(reply(ProtobufWriter().varint(1, 300).bytes(2, "too old"))), 300);
  EXPECT_EQ(rejected_spans(reply(ProtobufWriter().bytes(2, "only a warning"))), 0);
  EXPECT_EQ(rejected_spans(reply(ProtobufWriter().varint(1, ~std::uint64_t{0}))), 0);
}

RC_GTEST_PROP(Otlp, AnyReplyIsSurvived, (const std::string& reply)) {
  RC_ASSERT(rejected_spans(reply) >= 0);
}

}  // namespace
}  // namespace edgewise::trace
