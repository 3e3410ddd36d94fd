#include "chat/json_scanner.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <boost/json.hpp>

namespace edgewise::chat {
namespace {

bool scanner_accepts(std::string_view text) {
  JsonScanner scanner;
  auto status = JsonScanner::Status::kInvalid;
  for (const char c : text) {
    status = scanner.push(c);
    if (status == JsonScanner::Status::kInvalid) {
      return false;
    }
  }
  return status == JsonScanner::Status::kComplete;
}

bool boost_accepts(std::string_view text) {
  boost::json::parse_options options;
  options.max_depth = 128;
  boost::system::error_code error;
  const auto value = boost::json::parse({text.data(), text.size()}, error, {}, options);
  return !error && (value.is_object() || value.is_array());
}

TEST(JsonScanner, AgreesWithBoostOnDetails) {
  for (const std::string_view text : {"{}",
                                      "[]",
                                      "[1]",
                                      "[01]",
                                      "[-]",
                                      "[-0]",
                                      "[1.]",
                                      "[1.5e+3]",
                                      "[1e]",
                                      "[.5]",
                                      "[1,]",
                                      "{\"a\":1,}",
                                      "{\"a\"}",
                                      "{a:1}",
                                      "[\"\\u12g4\"]",
                                      "[\"\\u1234\"]",
                                      "[\"\\x\"]",
                                      "[\"a\nb\"]",
                                      "[tru]",
                                      "[true,false,null]",
                                      "[nulll]",
                                      "{\"a\":{\"b\":[{}]}}",
                                      "[}",
                                      "{]",
                                      "[1 2]",
                                      "{\"a\":\"\"}",
                                      "[-1.0E-2,0]",
                                      "[00]",
                                      "[\"\\\"\"]",
                                      "[[],[]]"}) {
    EXPECT_EQ(scanner_accepts(text), boost_accepts(text)) << text;
  }
}

TEST(JsonScanner, IsCompleteExactlyAtTheEnd) {
  const std::string text = "{\"a\": [1, {\"b\": \"}\"}]}";
  JsonScanner scanner;
  for (std::size_t i = 0; i + 1 < text.size(); ++i) {
    ASSERT_EQ(scanner.push(text[i]), JsonScanner::Status::kOpen) << i;
  }
  EXPECT_EQ(scanner.push('}'), JsonScanner::Status::kComplete);
  EXPECT_EQ(scanner.push(' '), JsonScanner::Status::kInvalid);
}

TEST(JsonScanner, StopsAtAbsurdDepth) {
  EXPECT_FALSE(scanner_accepts(std::string(1000, '[') + std::string(1000, ']')));
}

// Text from JSON's own alphabet, so that much of it is nearly or wholly valid.
RC_GTEST_PROP(JsonScannerProperty, AgreesWithBoostOnRandomText, ()) {
  const auto piece = rc::gen::elementOf(std::vector<std::string>{
      "{", "}", "[", "]", ",", ":",    "\"a\"", "\"", "\\", "\\n",     "\\u00e9",
      "1", "0", "-", ".", "e", "true", "null",  " ",  "\n", "{\"k\":", "[1,"});
  std::string text = *rc::gen::element<std::string>("[", "{", "{\"a\":");
  for (const auto& part :
       *rc::gen::resize(12, rc::gen::container<std::vector<std::string>>(piece))) {
    text += part;
  }
  // A scanner is complete with the last bracket: white space after it, which a parser skips, is no longer its text.
  const bool ends_with_bracket = text.back() == '}' || text.back() == ']';
  RC_ASSERT(scanner_accepts(text) == (ends_with_bracket && boost_accepts(text)));
}

RC_GTEST_PROP(JsonScannerProperty, QuotingAndUnquotingAgreeWithBoost, ()) {
  const auto units = *rc::gen::container<std::vector<std::string>>(rc::gen::element<std::string>(
      "a", "\"", "\\", "\n", "\t", "\x01", "\xC3\xA9", "\xF0\x9F\x98\x80", "/", "{", " "));
  std::string text;
  for (const auto& unit : units) {
    text += unit;
  }
  RC_ASSERT(unquote_json(boost::json::serialize(boost::json::string(text))) == text);
  RC_ASSERT(boost::json::parse(quote_json(text)).as_string() == boost::json::string(text));
}

TEST(UnquoteJson, ReadsEscapes) {
  EXPECT_EQ(unquote_json(R"("\u00e9\ud83d\ude00\/")"), "\xC3\xA9\xF0\x9F\x98\x80/");
  EXPECT_EQ(unquote_json(R"("\ud83d x")"), "\xEF\xBF\xBD x");
  EXPECT_EQ(unquote_json("abc"), std::nullopt);
  EXPECT_EQ(unquote_json("\"\\\""), std::nullopt);
  EXPECT_EQ(unquote_json("\"a\"b\""), std::nullopt);
}

}  // namespace
}  // namespace edgewise::chat
