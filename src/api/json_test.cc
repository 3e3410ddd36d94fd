#include "api/json.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <algorithm>
#include <boost/json.hpp>
#include <cmath>
#include <cstdlib>

#include "api/json_writer.h"
#include "text/unicode.h"

namespace edgewise::api {
namespace {

using testing::HasSubstr;

std::string problem(std::string_view text, JsonLimits limits = {}) {
  const auto value = parse_json(text, limits);
  return value ? "" : value.error().message;
}

TEST(Json, KeepsOrderAndIntegers) {
  const std::string text = R"({"z":1,"a":[9007199254740993,-1,0.7,1e-7,true,null,"x\ny"],"m":{}})";
  const auto value = parse_json(text);
  ASSERT_TRUE(value) << value.error().message;
  EXPECT_EQ(*value->find("z")->as_integer(), 1);
  EXPECT_EQ(to_json(*value),
            R"({"z":1,"a":[9007199254740993,-1,0.7,1e-07,true,null,"x\ny"],"m":{}})");
}

TEST(Json, RefusesWhatIsNotJson) {
  for (const char* bad : {"", "{", "{\"a\":}", "[1,]", "nul", "NaN", "[NaN]", "Infinity", "{'a':1}",
                          "\"\\x\"", "01", "1 2", "{\"a\":1}}", "// x\n1", "\"a\nb\"", "\xff",
                          "\"\xff\"", "\"\xed\xa0\x80\"", "\"\xc0\xaf\""}) {
    EXPECT_THAT(problem(bad), HasSubstr("not valid JSON")) << bad;
  }
  for (const char* bytes :
       {"\xff", "\"a\xff\"", "\"\xed\xa0\x80\"", "{\"a\":\"\xe4\xbd\xa0 \xc3\"}"}) {
    EXPECT_THAT(problem(bytes), HasSubstr("not UTF-8")) << bytes;
  }
  EXPECT_THAT(problem("[x, \"\xe4\xbd\xa0\"]"), HasSubstr("syntax error"));
  EXPECT_THAT(problem("{\"a\":1,\n  \"b\":1,\"a\":2}"),
              HasSubstr("the member \"a\" is there twice (line 2 column"));
  EXPECT_THAT(problem("{\"a\":1,\"a\":2}\xff"), HasSubstr("twice"));
  const std::string name(100'000, 'x');
  EXPECT_LT(problem("{\"" + name + "\":1,\"" + name + "\":2}").size(), 1000U);
  EXPECT_THAT(problem("[1e999]"), HasSubstr("not valid JSON"));
  EXPECT_THAT(problem("[1, x]"), HasSubstr("line 1 column 5"));
}

TEST(Json, BoundsDepthAndSize) {
  const std::string deep(100'000, '[');
  EXPECT_THAT(problem(deep), HasSubstr("nested deeper than 128 levels"));
  std::string objects;
  for (int i = 0; i < 100'000; ++i) {
    objects += "{\"a\":";
  }
  EXPECT_THAT(problem(objects), HasSubstr("nested deeper"));
  EXPECT_EQ(problem(std::string(128, '[') + std::string(128, ']')), "");
  EXPECT_THAT(problem("[1,2,3]", {.max_values = 3}), HasSubstr("more than 3 values"));
}

TEST(Json, WritesOnlyValidUtf8) {
  JsonWriter out;
  out.string("a\xC3\xA9 \xE2\x82\xAC \xF0\x9F\x98\x80 \xE2\x82 \xff \x01\"\\");
  EXPECT_EQ(out.text(),
            "\"a\xC3\xA9 \xE2\x82\xAC \xF0\x9F\x98\x80 \xEF\xBF\xBD\xEF\xBF\xBD \xEF\xBF\xBD "
            "\\u0001\\\"\\\\\"");
}

TEST(Json, WritesNumbersThatReadBackTheSame) {
  JsonWriter out;
  out.begin_array()
      .number(0.7)
      .number(-0.0F)
      .number(0.1F)
      .number(1e300)
      .number(std::nan(""))
      .integer(-5)
      .end_array();
  EXPECT_EQ(out.text(), "[0.7,-0.0,0.1,1e+300,null,-5]");
}

// As Boost.JSON sees it; its reading of a number may be off in the last place.
bool are_same(const boost::json::value& a, const boost::json::value& b) {
  if (a.is_number() && b.is_number()) {
    const double x = a.to_number<double>();
    const double y = b.to_number<double>();
    return std::abs(x - y) <= 1e-14 * std::abs(x);
  }
  if (a.kind() != b.kind()) {
    return false;
  }
  if (a.is_array()) {
    return std::ranges::equal(a.get_array(), b.get_array(), are_same);
  }
  if (a.is_object()) {
    return std::ranges::equal(a.get_object(), b.get_object(), [](const auto& x, const auto& y) {
      return x.key() == y.key() && are_same(x.value(), y.value());
    });
  }
  return a == b;
}

TEST(Json, ReadsNumbersExactly) {
  for (const char* text : {"0.99051", "0.1", "123456.789e3", "-1.7976931348623157e308", "4.9e-324",
                           "18446744073709551615", "0.30000000000000004", "1e-400"}) {
    EXPECT_EQ(parse_json(text)->number(), std::strtod(text, nullptr)) << text;
  }
}

// Oracle: Boost.JSON's own value and parser.
RC_GTEST_PROP(Json,
              WhatTheWriterWritesOthersRead,
              (const std::string& text, double number, std::int64_t integer)) {
  JsonWriter out;
  out.begin_object()
      .key(text)
      .string(text)
      .key("n" + text)
      .number(number)
      .key("i" + text)
      .integer(integer)
      .end_object();
  const boost::json::value value = boost::json::parse(out.text());
  RC_ASSERT(value.as_object().size() == 3U);
  RC_ASSERT(value.as_object().begin()[2].value().as_int64() == integer);
  RC_ASSERT(are_same(value.as_object().begin()[1].value(), number));
  const auto ours = parse_json(out.text());
  RC_ASSERT(ours.has_value());
  RC_ASSERT((*ours->as_object())[1].value.number() == number);
  if (text::is_valid_utf8(text)) {
    RC_ASSERT(std::string(value.as_object().begin()[0].value().as_string()) == text);
  }
}

RC_GTEST_PROP(Json, DamagedTextIsReadAsOthersReadIt, ()) {
  std::string text = R"({"a":[1,-2.5e3,"x\u00e9"],"b":{"c":null,"d":true},"e":"f"})";
  for (int i = *rc::gen::inRange(0, 4); i > 0; --i) {
    const auto at = *rc::gen::inRange<std::size_t>(0, text.size());
    text[at] = *rc::gen::elementOf(std::string("{}[]\",:0123456789eE+-.\\ntu\xff x"));
  }
  const auto ours = parse_json(text);
  boost::json::error_code ec;
  const boost::json::value theirs = boost::json::parse(text, ec);
  if (ours) {
    RC_ASSERT(!ec);
    RC_ASSERT(are_same(boost::json::parse(to_json(*ours)), theirs));
  } else if (!ec) {
    // Stricter in two things: members that are there twice, and numbers that Boost.JSON reads as infinity.
    const std::string& message = ours.error().message;
    RC_ASSERT(message.find("twice") != std::string::npos ||
              message.find("a number is too large") != std::string::npos);
  }
}

}  // namespace
}  // namespace edgewise::api
