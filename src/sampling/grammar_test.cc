#include "sampling/grammar.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <boost/json.hpp>
#include <chrono>
#include <cmath>
#include <ctime>
#include <optional>
#include <random>
#include <regex>
#include <string>
#include <thread>
#include <vector>

#include "sampling/sampler.h"
#include "text/tokenizer.h"

namespace edgewise::sampling {
namespace {

using ::testing::AnyOf;
using ::testing::HasSubstr;
using Kind = GrammarSpec::Kind;

constexpr TokenId kEnd = 256;
constexpr TokenId kEndOfTurn = 257;

// All bytes, two ends, and some longer tokens that cross the borders of JSON's own tokens.
class ByteTokenizer : public text::Tokenizer {
 public:
  ByteTokenizer() {
    for (int byte = 0; byte < 256; ++byte) {
      tokens_.emplace_back(1, static_cast<char>(byte));
    }
    for (const char* token : {"</s>", "<|end|>", "{\"", "\":", "\",\"", "\"}", "true", "null", "12",
                              ", ", "}}", "ab", "é", "東京"}) {
      tokens_.emplace_back(token);
    }
  }

  std::vector<TokenId> encode(std::string_view text, text::EncodeOptions) const override {
    std::vector<TokenId> ids;
    for (const char c : text) {
      ids.push_back(static_cast<unsigned char>(c));
    }
    return ids;
  }

  void append_bytes(TokenId token, bool with_special, std::string& out) const override {
    if (!is_control(token) || with_special) {
      out += tokens_[static_cast<std::size_t>(token)];
    }
  }

  std::string decode(std::span<const TokenId> tokens, bool with_special) const override {
    std::string text;
    for (const TokenId token : tokens) {
      append_bytes(token, with_special, text);
    }
    return text;
  }

  std::int64_t vocab_size() const override { return std::ssize(tokens_); }

  std::string_view token_text(TokenId token) const override {
    return tokens_[static_cast<std::size_t>(token)];
  }

  bool is_control(TokenId token) const override { return is_end_of_generation(token); }

  bool is_end_of_generation(TokenId token) const override {
    return token == kEnd || token == kEndOfTurn;
  }

  TokenId bos() const override { return -1; }

  TokenId eos() const override { return kEnd; }

  bool adds_bos() const override { return false; }

  bool adds_space_prefix() const override { return false; }

 private:
  std::vector<std::string> tokens_;
};

class Grammar : public ::testing::Test {
 protected:
  Grammar() : factory_(GrammarFactory::create(tokenizer_).value()) {}

  std::unique_ptr<GrammarMatcher> matcher(Kind kind, std::string text) const {
    auto made = factory_->create_matcher({kind, std::move(text)}, "");
    EXPECT_TRUE(made.has_value()) << made.error().message;
    return made ? std::move(*made) : nullptr;
  }

  std::string error(Kind kind, std::string text) const {
    const auto made = factory_->create_matcher({kind, std::move(text)}, "");
    return made ? "no error" : made.error().message;
  }

  // Text drawn by random logits under the grammar. Ends and quotes become likelier with time, so
  // that it ends.
  std::string random_text(Kind kind, const std::string& text, unsigned seed) const {
    SamplingParams params;
    params.seed = seed;
    Sampler sampler(params, {}, matcher(kind, text));
    std::mt19937 rng(seed);
    std::normal_distribution<float> normal(0.0F, 2.0F);
    std::vector<TokenId> tokens;
    while (tokens.size() < 3000 && !sampler.grammar_is_complete()) {
      std::vector<float> logits(
          static_cast<std::size_t>(tokenizer_.vocab_size() + 30));  // padded, as models are
      std::generate(logits.begin(), logits.end(), [&] { return normal(rng); });
      for (const char closing : {'"', '}', ']', ')', ','}) {
        logits[static_cast<unsigned char>(closing)] += static_cast<float>(tokens.size()) * 0.2F;
      }
      logits[kEndOfTurn] += static_cast<float>(tokens.size()) * 0.3F;
      const auto drawn = sampler.sample(logits, static_cast<std::int64_t>(tokens.size()));
      if (!drawn) {
        ADD_FAILURE() << drawn.error().message;
        break;
      }
      if (tokenizer_.is_end_of_generation(drawn->token)) {
        return tokenizer_.decode(tokens, false);
      }
      EXPECT_LT(drawn->token, tokenizer_.vocab_size());
      EXPECT_TRUE(sampler.accept(drawn->token).has_value());
      tokens.push_back(drawn->token);
    }
    EXPECT_TRUE(sampler.grammar_is_complete())
        << "no end in " << tokenizer_.decode(tokens, false).substr(0, 300);
    return tokenizer_.decode(tokens, false);
  }

  bool allows(GrammarMatcher& matcher, TokenId token) const {
    std::vector<float> logits(static_cast<std::size_t>(tokenizer_.vocab_size()), 0.0F);
    EXPECT_TRUE(matcher.mask(logits).has_value());
    return logits[static_cast<std::size_t>(token)] == 0.0F;
  }

  ByteTokenizer tokenizer_;
  std::shared_ptr<const GrammarFactory> factory_;
};

constexpr const char* kPerson = R"({
  "type": "object",
  "properties": {
    "name": {"type": "string", "maxLength": 20},
    "age": {"type": "integer", "minimum": 0, "maximum": 150},
    "tags": {"type": "array", "items": {"enum": ["a", "b é"]}, "minItems": 1, "maxItems": 3},
    "address": {"$ref": "#/$defs/address"}
  },
  "required": ["name", "age", "tags", "address"],
  "additionalProperties": false,
  "$defs": {"address": {"type": "object", "properties": {"zip": {"type": "string", "pattern": "^[0-9]{5}$"}},
                        "required": ["zip"], "additionalProperties": false}}
})";

TEST_F(Grammar, RandomDrawsUnderASchemaSatisfyIt) {
  for (unsigned seed = 0; seed < 40; ++seed) {
    const std::string text = random_text(Kind::kJsonSchema, kPerson, seed);
    boost::json::error_code failed;
    const auto value = boost::json::parse(text, failed);
    ASSERT_FALSE(failed) << text;
    const auto& object = value.as_object();
    ASSERT_EQ(object.size(), 4U) << text;
    EXPECT_TRUE(object.at("name").is_string());
    const auto age = object.at("age").to_number<double>();
    EXPECT_TRUE(age >= 0 && age <= 150 && age == std::floor(age)) << text;
    const auto& tags = object.at("tags").as_array();
    EXPECT_TRUE(!tags.empty() && tags.size() <= 3) << text;
    for (const auto& tag : tags) {
      EXPECT_TRUE(tag.as_string() == "a" || tag.as_string() == "b é") << text;
    }
    const std::string zip(object.at("address").at("zip").as_string());
    EXPECT_TRUE(std::regex_match(zip, std::regex("[0-9]{5}"))) << text;
  }
}

TEST_F(Grammar, AnyJsonObject) {
  for (unsigned seed = 0; seed < 20; ++seed) {
    const std::string text = random_text(Kind::kJsonObject, "", seed);
    boost::json::error_code failed;
    const auto value = boost::json::parse(text, failed);
    ASSERT_FALSE(failed) << text;
    EXPECT_TRUE(value.is_object()) << text;
  }
}

TEST_F(Grammar, RegexLarkAndGbnfGiveTheirLanguage) {
  const std::regex date("[0-9]{4}-(0[1-9]|1[0-2])-[0-3][0-9]");
  for (unsigned seed = 0; seed < 20; ++seed) {
    const std::string by_regex =
        random_text(Kind::kRegex, "[0-9]{4}-(0[1-9]|1[0-2])-[0-3][0-9]", seed);
    EXPECT_TRUE(std::regex_match(by_regex, date)) << by_regex;
    const std::string by_lark =
        random_text(Kind::kLark,
                    "start: YEAR \"-\" /0[1-9]|1[0-2]/ \"-\" /[0-3][0-9]/\nYEAR: /[0-9]{4}/", seed);
    EXPECT_TRUE(std::regex_match(by_lark, date)) << by_lark;
    const std::string by_gbnf = random_text(
        Kind::kGbnf,
        "root ::= year \"-\" (\"0\" [1-9] | \"1\" [0-2]) \"-\" [0-3] [0-9]\nyear ::= [0-9]{4}",
        seed);
    EXPECT_TRUE(std::regex_match(by_gbnf, date)) << by_gbnf;
  }
}

TEST_F(Grammar, RecursiveGbnfStaysBalanced) {
  for (unsigned seed = 0; seed < 20; ++seed) {
    const std::string text =
        random_text(Kind::kGbnf, "root ::= \"(\" (root | [a-c]+)* \")\"", seed);
    int depth = 0;
    for (std::size_t i = 0; i < text.size(); ++i) {
      depth += text[i] == '(' ? 1 : text[i] == ')' ? -1 : 0;
      EXPECT_TRUE(depth > 0 || i + 1 == text.size()) << text;
    }
    EXPECT_EQ(depth, 0) << text;
  }
}

TEST_F(Grammar, EndsOnlyWhereTheTextMayEnd) {
  const auto made = matcher(Kind::kRegex, "ab?");
  EXPECT_FALSE(allows(*made, kEnd));
  EXPECT_TRUE(allows(*made, 'a'));
  EXPECT_FALSE(made->is_complete());
  ASSERT_TRUE(made->accept('a').has_value());
  EXPECT_TRUE(allows(*made, kEnd));
  EXPECT_TRUE(allows(*made, kEndOfTurn));
  EXPECT_TRUE(allows(*made, 'b'));
  EXPECT_FALSE(made->is_complete());
  ASSERT_TRUE(made->accept('b').has_value());
  EXPECT_TRUE(made->is_complete());
  EXPECT_TRUE(allows(*made, kEnd));
  EXPECT_FALSE(allows(*made, 'b'));
}

TEST_F(Grammar, TextNeverSpellsAControlToken) {
  const auto made = matcher(Kind::kRegex, "[a-z</>|]+");
  EXPECT_FALSE(allows(*made, kEnd));
  EXPECT_TRUE(allows(*made, '<'));
}

TEST_F(Grammar, AForbiddenTokenIsAnErrorAndStaysOne) {
  const auto made = matcher(Kind::kRegex, "ab");
  EXPECT_FALSE(made->accept('x').has_value());
  std::vector<float> logits(300, 0.0F);
  EXPECT_FALSE(made->mask(logits).has_value());
  EXPECT_FALSE(made->is_complete());
  const auto outside = matcher(Kind::kRegex, "ab");
  EXPECT_FALSE(outside->accept(1000000).has_value());
  EXPECT_FALSE(matcher(Kind::kRegex, "ab")->accept(-1).has_value());
}

TEST_F(Grammar, AGrammarOfTheEmptyTextIsCompleteAtOnce) {
  const auto made = matcher(Kind::kRegex, "");
  EXPECT_TRUE(made->is_complete());
  EXPECT_TRUE(allows(*made, kEnd));
}

TEST_F(Grammar, WhatDoesNotCompileSaysWhy) {
  EXPECT_THAT(error(Kind::kJsonSchema, "{"), HasSubstr("not JSON"));
  EXPECT_THAT(error(Kind::kJsonSchema, R"({"type": "wizard"})"), HasSubstr("wizard"));
  EXPECT_THAT(error(Kind::kJsonSchema, R"({"$ref": "https://example.com/schema.json"})"),
              HasSubstr("example.com"));
  EXPECT_THAT(error(Kind::kRegex, "(a"), HasSubstr("unclosed"));
  EXPECT_THAT(error(Kind::kLark, "start: missing"), HasSubstr("missing"));
  EXPECT_THAT(error(Kind::kGbnf, "root ::= missing"),
              HasSubstr("\"missing\" is used but not defined"));
  EXPECT_THAT(error(Kind::kRegex, "\xff"), HasSubstr("UTF-8"));
  EXPECT_THAT(error(Kind::kRegex, "a\\"), HasSubstr("backslash"));
  EXPECT_EQ(random_text(Kind::kRegex, "a\\\\", 1), "a\\");
}

TEST_F(Grammar, MatchersOfSeveralThreadsShareAFactory) {
  std::vector<std::jthread> threads;
  for (unsigned i = 0; i < 4; ++i) {
    threads.emplace_back([this, i] {
      const std::string text = random_text(Kind::kJsonSchema, kPerson, 1000 + i);
      EXPECT_TRUE(boost::json::parse(text).is_object());
    });
  }
}

struct HostileCase {
  const char* name;
  Kind kind;
  std::string text;
};

std::string repeated(std::string_view part, int times) {
  std::string text;
  for (int i = 0; i < times; ++i) {
    text += part;
  }
  return text;
}

class HostileGrammar : public Grammar, public ::testing::WithParamInterface<HostileCase> {};

// Patterns that are compared in pairs, which takes llguidance far longer than it may.
std::string slow_schema(int seed) {
  std::string text = "{\"patternProperties\":{";
  for (int i = 0; i < 800; ++i) {
    text += fmt::format("{}\"^x{}.*{:03}$\":{{}}", i == 0 ? "" : ",", seed, i);
  }
  return text + "}}";
}

TEST_F(Grammar, SlowOnesLeaveOthersTheirPlaces) {
  std::vector<std::thread> threads;
  std::array<std::optional<Error>, 3> errors;
  for (int i = 0; i < 3; ++i) {
    threads.emplace_back([this, i, &error = errors[static_cast<std::size_t>(i)]] {
      const auto made = factory_->create_matcher({Kind::kJsonSchema, slow_schema(i)}, "one");
      error = made ? std::nullopt : std::optional(made.error());
    });
  }
  for (std::thread& thread : threads) {
    thread.join();
  }
  // Too long, or no time for it: they go on, and hold their places.
  for (const std::optional<Error>& error : errors) {
    ASSERT_TRUE(error.has_value());
    EXPECT_THAT(error->message,
                AnyOf(HasSubstr("takes too long"), HasSubstr("machine was too busy"),
                      HasSubstr("another large grammar")));
    EXPECT_EQ(error->code, error->message.find("takes too long") != std::string::npos
                               ? ErrorCode::kInvalidArgument
                               : ErrorCode::kUnavailable);
  }
  // Only one was waited for until its end.
  EXPECT_EQ(std::count_if(errors.begin(), errors.end(),
                          [](const std::optional<Error>& error) {
                            return error->message.find("another") != std::string::npos;
                          }),
            2);
  const auto begin = std::chrono::steady_clock::now();
  const auto fourth = factory_->create_matcher({Kind::kJsonSchema, kPerson}, "one");
  ASSERT_FALSE(fourth.has_value());
  EXPECT_EQ(fourth.error().code, ErrorCode::kUnavailable);
  EXPECT_GT(fourth.error().retry_after_s, 0.0);
  EXPECT_THAT(fourth.error().message, HasSubstr("same API key"));
  EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::seconds(1));
  EXPECT_TRUE(factory_->create_matcher({Kind::kJsonSchema, kPerson}, "another").has_value());
  EXPECT_TRUE(factory_->create_matcher({Kind::kJsonSchema, kPerson}, "").has_value());
}

double processor_seconds() {
  return static_cast<double>(std::clock()) / CLOCKS_PER_SEC;
}

// Compiles or does not, and gives masks or does not, but soon: by the processor's time, because others
// may want the machine, too.
TEST_P(HostileGrammar, IsBounded) {
  const auto start = std::chrono::steady_clock::now();
  const double computed = processor_seconds();
  const auto made = factory_->create_matcher({GetParam().kind, GetParam().text}, "");
  if (made) {
    std::vector<float> logits(static_cast<std::size_t>(tokenizer_.vocab_size()), 0.0F);
    std::mt19937 rng(1);
    for (int i = 0; i < 30 && !(*made)->is_complete(); ++i) {
      std::fill(logits.begin(), logits.end(), 0.0F);
      const auto any = (*made)->mask(logits);
      if (!any || !*any) {
        break;
      }
      std::vector<TokenId> allowed;
      for (TokenId token = 0; token < kEnd; ++token) {
        if (logits[static_cast<std::size_t>(token)] == 0.0F) {
          allowed.push_back(token);
        }
      }
      if (allowed.empty() || !(*made)->accept(allowed[rng() % allowed.size()])) {
        break;
      }
    }
  } else {
    EXPECT_NE(made.error().code, ErrorCode::kInternal) << made.error().message;
    EXPECT_LT(made.error().message.size(), 2000U) << made.error().message.substr(0, 3000);
  }
  EXPECT_LT(processor_seconds() - computed, 15.0);
  EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(100));
}

INSTANTIATE_TEST_SUITE_P(
    All,
    HostileGrammar,
    ::testing::Values(
        HostileCase{"DeepJson", Kind::kJsonSchema,
                    repeated("{\"items\":", 50000) + "{}" + repeated("}", 50000)},
        HostileCase{"DeepSchema", Kind::kJsonSchema,
                    repeated("{\"items\":", 120) + "{}" + repeated("}", 120)},
        HostileCase{"HugeLength", Kind::kJsonSchema, R"({"type":"string","minLength":1000000000})"},
        HostileCase{"HugeItems", Kind::kJsonSchema,
                    R"({"type":"array","minItems":1000000000,"items":{"type":"integer"}})"},
        HostileCase{"HugeEnum", Kind::kJsonSchema,
                    "{\"enum\":[0" + repeated(",\"xxxxxxxxxxxxxxxxxxxx\"", 5000) + "]}"},
        HostileCase{"ManyProperties", Kind::kJsonSchema,
                    [] {
                      std::string text = "{\"properties\":{\"a\":{}";
                      for (int i = 0; i < 9000; ++i) {
                        text += ",\"p" + std::to_string(i) + "\":{}";
                      }
                      return text + "}}";
                    }()},
        HostileCase{"SelfReference", Kind::kJsonSchema, R"({"$ref":"#"})"},
        HostileCase{"AnyOfSelf", Kind::kJsonSchema, R"({"anyOf":[{"$ref":"#"},{"$ref":"#"}]})"},
        HostileCase{"AllOfManyReferences", Kind::kJsonSchema,
                    "{\"$defs\":{\"a\":{\"type\":\"object\",\"properties\":{\"x\":{\"$ref\":\"#/"
                    "$defs/a\"}}}},\"allOf\":[{}" +
                        repeated(",{\"$ref\":\"#/$defs/a\"}", 500) + "]}"},
        HostileCase{"OneOfProduct", Kind::kJsonSchema,
                    "{\"allOf\":[{}" +
                        repeated(",{\"anyOf\":[{\"type\":\"string\",\"pattern\":\"a\"},{\"type\":"
                                 "\"string\",\"pattern\":\"b\"}]}",
                                 25) +
                        "]}"},
        HostileCase{"HugeRange", Kind::kJsonSchema,
                    R"({"type":"number","minimum":0.000000000000001,"maximum":1e300})"},
        HostileCase{"MultipleOf", Kind::kJsonSchema,
                    R"({"type":"integer","multipleOf":999999937})"},
        HostileCase{"RegexBomb", Kind::kRegex,
                    "(((((((((a{1,99}){1,99}){1,99}){1,99}){1,99}){1,99}){1,99}){1,99}){1,99})"},
        HostileCase{"RegexExponential", Kind::kRegex, ".*a.{30}"},
        HostileCase{"RegexAlternatives", Kind::kRegex, "(.*a.{12}|.*b.{13}|.*c.{14}){5}"},
        HostileCase{"RegexNested", Kind::kRegex, repeated("(", 50000) + "a" + repeated(")", 50000)},
        HostileCase{"RegexLookahead", Kind::kRegex, "(?=a)b"},
        HostileCase{"RegexUnicode", Kind::kRegex, "(\\p{L}\\p{Lu}\\p{Ll}){100}"},
        HostileCase{"LarkNested", Kind::kLark,
                    "start: " + repeated("(", 50000) + "\"a\"" + repeated(")", 50000)},
        HostileCase{"LarkAmbiguous", Kind::kLark,
                    "start: s\ns: s s s s | s s s | s s | \"a\" | \"\""},
        HostileCase{"LarkBomb", Kind::kLark,
                    "start: a\na: b b b b b b b b\nb: c c c c c c c c\nc: d d d d d d d d\nd: e e "
                    "e e e e e e\ne: \"x\""},
        HostileCase{"LarkRepeats", Kind::kLark,
                    "start: ((((\"a\"{1,9999}){1,9999}){1,9999}){1,9999})"},
        HostileCase{"GbnfAmbiguous", Kind::kGbnf,
                    "root ::= root root root | root root | [a-z]? | \"\""},
        HostileCase{"GbnfBomb", Kind::kGbnf,
                    "root ::= ((((root \"a\"){1,2000}){1,2000}){1,2000}){1,2000} | \"b\""},
        HostileCase{"GbnfRegularBomb", Kind::kGbnf,
                    "root ::= (((([a-z] \"a\"){1,2000}){1,2000}){1,2000}){1,2000}"},
        HostileCase{"GbnfNullable", Kind::kGbnf,
                    "root ::= " + repeated("[a-z]? ", 9000) + "root | \"b\""},
        HostileCase{"GbnfManyChars", Kind::kGbnf,
                    "root ::= " + repeated("[a-z]* [b-f]? ", 450) + "root | \"b\""},
        HostileCase{"GbnfManyRules", Kind::kGbnf,
                    [] {
                      std::string text = "root ::= r0 | \"x\"\n";
                      for (int i = 0; i < 2800; ++i) {
                        text += "r" + std::to_string(i) + " ::= \"a\" r" + std::to_string(i + 1) +
                                " | r" + std::to_string(i + 1) + "\n";
                      }
                      return text + "r2800 ::= root";
                    }()},
        HostileCase{"GbnfEmptyLanguage", Kind::kGbnf, "root ::= root"},
        HostileCase{"TooLarge", Kind::kLark, std::string(2 << 20, ' ')}),
    [](const auto& param) { return param.param.name; });

}  // namespace
}  // namespace edgewise::sampling
