#include "trace/context.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <span>
#include <string>

namespace edgewise::trace {
namespace {

// The example of the specification.
constexpr char kExample[] = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

std::string hex(std::span<const std::byte> bytes) {
  std::string text;
  for (const std::byte byte : bytes) {
    for (const int digit : {std::to_integer<int>(byte) / 16, std::to_integer<int>(byte) % 16}) {
      text += "0123456789abcdef"[digit];
    }
  }
  return text;
}

TEST(Traceparent, IsReadAsTheSpecificationHasIt) {
  const auto context = parse_traceparent(kExample);
  ASSERT_TRUE(context);
  EXPECT_EQ(hex(context->trace), "0af7651916cd43dd8448eb211c80319c");
  EXPECT_EQ(hex(context->span), "b7ad6b7169203331");
  EXPECT_TRUE(context->is_sampled);
  EXPECT_FALSE(
      parse_traceparent("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00")->is_sampled);
  EXPECT_FALSE(
      parse_traceparent("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-fe")->is_sampled);
}

TEST(Traceparent, LaterVersionsMayHaveMoreBehind) {
  for (const char* later : {"cc-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
                            "cc-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-what comes",
                            "01-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-"}) {
    EXPECT_TRUE(parse_traceparent(later)) << later;
  }
}

TEST(Traceparent, WhatIsNotValidIsNone) {
  for (const char* wrong :
       {"", "00", "00-", "garbage",
        "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",   // no version
        "00-00000000000000000000000000000000-b7ad6b7169203331-01",   // no trace
        "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",   // no span
        "00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01",   // upper case
        "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-",  // longer than version 0
        "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01 ",
        " 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        "cc-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01what",  // no separator
        "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-0",
        "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-0x",
        "00_0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        "00-0af7651916cd43dd8448eb211c80319-cb7ad6b7169203331-01"}) {
    EXPECT_FALSE(parse_traceparent(wrong)) << wrong;
  }
}

RC_GTEST_PROP(Traceparent, IsReadBackWhateverItsIdsAre, ()) {
  TraceContext context;
  for (std::byte& byte : context.trace) {
    byte = static_cast<std::byte>(*rc::gen::arbitrary<std::uint8_t>());
  }
  for (std::byte& byte : context.span) {
    byte = static_cast<std::byte>(*rc::gen::arbitrary<std::uint8_t>());
  }
  RC_PRE(context.trace != TraceId{} && context.span != SpanId{});
  const auto flags = *rc::gen::arbitrary<std::uint8_t>();
  const std::byte flag_byte{flags};
  const auto read = parse_traceparent("00-" + hex(context.trace) + "-" + hex(context.span) + "-" +
                                      hex({&flag_byte, 1}));
  RC_ASSERT(read.has_value());
  RC_ASSERT(read->trace == context.trace);
  RC_ASSERT(read->span == context.span);
  RC_ASSERT(read->is_sampled == ((flags & 1) == 1));
}

// One changed character: still valid, and then as it is written, or none.
RC_GTEST_PROP(Traceparent, AnyChangeIsReadAsItIsOrRefused, ()) {
  std::string text = kExample;
  text[*rc::gen::inRange<std::size_t>(0, text.size())] = *rc::gen::arbitrary<char>();
  if (const auto read = parse_traceparent(text)) {
    RC_ASSERT(text.substr(3, 32) == hex(read->trace));
    RC_ASSERT(text.substr(36, 16) == hex(read->span));
  }
}

RC_GTEST_PROP(Traceparent, AnyBytesAreSurvived, (const std::string& text)) {
  RC_ASSERT(!parse_traceparent(text).has_value());
}

TEST(Ids, AreNewEachTimeAndNeverZero) {
  EXPECT_NE(new_trace_id(), new_trace_id());
  EXPECT_NE(new_span_id(), SpanId{});
}

}  // namespace
}  // namespace edgewise::trace
