#include "text/chat_template.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <boost/json.hpp>
#include <chrono>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <set>
#include <string>
#include <thread>
#include <vector>

namespace edgewise::text {
namespace {

using ::testing::HasSubstr;

Result<std::string> render(std::string_view source, std::string_view context) {
  const auto compiled = TRY(ChatTemplate::compile(source));
  return compiled.render_at(context, 1721997296);  // 2024-07-26 12:34:56 UTC
}

std::string rendered(std::string_view source, std::string_view context = "{}") {
  auto text = render(source, context);
  return text ? *text : "error: " + text.error().message;
}

// What Python's jinja2 gave (tests/golden/make_chat_template_vectors.py).
boost::json::object golden_vectors() {
  std::ifstream file(EDGEWISE_SOURCE_DIR "/tests/golden/chat_template_vectors.json");
  const std::string text{std::istreambuf_iterator<char>(file), {}};
  return boost::json::parse(text).as_object();
}

// Templates where minijinja differs from jinja2, with the reason.
const std::set<std::string, std::less<>> kKnownDifferences = {};

TEST(ChatTemplate, RendersAsJinja2Does) {
  setenv("TZ", "UTC", 1);  // strftime_now shows local time
  const auto vectors = golden_vectors();
  const auto& contexts = vectors.at("contexts").as_object();
  int cases = 0;
  for (const auto& entry : vectors.at("templates").as_array()) {
    const std::string source(entry.at("source").as_string());
    for (const auto& expected : entry.at("cases").as_array()) {
      const std::string context =
          boost::json::serialize(contexts.at(expected.at("context").as_string()));
      const auto text = render(source, context);
      const std::string output(expected.at("output").as_string());
      ++cases;
      const bool is_same =
          text.has_value() == expected.at("ok").as_bool() && (!text || *text == output);
      EXPECT_NE(is_same, kKnownDifferences.contains(source))
          << entry.at("name").as_string() << ", " << expected.at("context").as_string() << "\n"
          << source << "\n  jinja2: " << output
          << "\n  ours:   " << (text ? *text : text.error().message);
    }
  }
  EXPECT_GT(cases, 100);
}

TEST(ChatTemplate, SyntaxErrorNamesTheLine) {
  const auto compiled = ChatTemplate::compile("ok\n{% if %}\n");
  ASSERT_FALSE(compiled.has_value());
  EXPECT_EQ(compiled.error().code, ErrorCode::kInvalidArgument);
  EXPECT_THAT(compiled.error().message, HasSubstr("line 2"));
}

TEST(ChatTemplate, RefusalCarriesTheTemplatesWords) {
  const auto text = render("{{ raise_exception('roles must alternate') }}", "{}");
  ASSERT_FALSE(text.has_value());
  EXPECT_EQ(text.error().code, ErrorCode::kInvalidArgument);
  EXPECT_EQ(text.error().message,
            "the chat template refuses this conversation: roles must alternate");
}

TEST(ChatTemplate, ContextMustBeAnObject) {
  for (const char* context : {"", "[]", "3", "{", "{\"a\":}", "{} x"}) {
    EXPECT_FALSE(render("x", context).has_value()) << context;
  }
  EXPECT_FALSE(render("x", "{\"a\":" + std::string(100000, '[') + std::string(100000, ']') + "}")
                   .has_value());
  EXPECT_FALSE(render("x", "{\"a\":\"\xff\"}").has_value());
  EXPECT_FALSE(ChatTemplate::compile("\xff").has_value());
}

TEST(ChatTemplate, ValuesStayAsTheyAre) {
  EXPECT_EQ(rendered("{{ z | tojson }}",
                     R"({"z":{"b":1,"a":[1.0,-0.0,1e300,18446744073709551615,"\u0000é"]}})"),
            R"({"b": 1, "a": [1.0, -0.0, 1e+300, 18446744073709551615, "\u0000é"]})");
}

TEST(ChatTemplate, MayBeRenderedByManyThreads) {
  auto compiled = ChatTemplate::compile("{% for m in messages %}{{ m }}{% endfor %}");
  ASSERT_TRUE(compiled.has_value());
  std::vector<std::jthread> threads;
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([&compiled, i] {
      for (int n = 0; n < 50; ++n) {
        const auto text = compiled->render("{\"messages\":[" + std::to_string(i) + "," +
                                           std::to_string(n) + "]}");
        EXPECT_EQ(text.value_or("failed"), std::to_string(i) + std::to_string(n));
      }
    });
  }
}

struct HostileCase {
  const char* name;
  std::string source;
};

std::string repeated(std::string_view part, int times) {
  std::string text;
  for (int i = 0; i < times; ++i) {
    text += part;
  }
  return text;
}

class HostileTemplate : public ::testing::TestWithParam<HostileCase> {};

// Whatever a template does, it comes back soon, with text or an error.
TEST_P(HostileTemplate, IsBounded) {
  const auto start = std::chrono::steady_clock::now();
  const auto text = render(GetParam().source, R"({"messages":[]})");
  EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(20));
  if (text) {
    EXPECT_LT(text->size(), 64U << 20);
  } else {
    EXPECT_NE(text.error().code, ErrorCode::kInternal) << text.error().message;
  }
}

const std::string kLoop = "{% for a in range(90000) %}{% for b in range(90000) %}";
const std::string kEnd = "{% endfor %}{% endfor %}";
const std::string kDeep = repeated("[", 60) + "ns.x" + repeated("]", 60);

INSTANTIATE_TEST_SUITE_P(
    All,
    HostileTemplate,
    ::testing::Values(
        HostileCase{"EndlessLoop", kLoop + kEnd},
        HostileCase{"EndlessOutput", kLoop + "xxxxxxxxxxxxxxxxxxxxxxxxxxxxx" + kEnd},
        HostileCase{"DoublingString", "{% set ns = namespace(x='x') %}" + kLoop +
                                          "{% set ns.x = ns.x ~ ns.x %}" + kEnd},
        HostileCase{
            "DoublingUnrolled",
            "{% set x = 'xxxxxxxx' %}" + repeated("{% set x = x ~ x %}", 64) + "{{ x | length }}"},
        HostileCase{"SharedJson", "{% set x = ['xxxxxxxx'] %}" +
                                      repeated("{% set x = [x, x, x, x] %}", 40) +
                                      "{{ x | tojson }}"},
        HostileCase{"SharedText", "{% set x = ['xxxxxxxx'] %}" +
                                      repeated("{% set x = [x, x, x, x] %}", 40) + "{{ x }}"},
        HostileCase{"SharedConcat", "{% set x = ['xxxxxxxx'] %}" +
                                        repeated("{% set x = [x, x, x, x] %}", 40) +
                                        "{{ x ~ '' }}"},
        HostileCase{"SharedEqual",
                    "{% set x = [1] %}{% set y = [1] %}" +
                        repeated("{% set x = [x, x, x, x] %}{% set y = [y, y, y, y] %}", 40) +
                        "{{ x == y }}"},
        HostileCase{"SharedSort", "{% set x = [1] %}" + repeated("{% set x = [x, x, x, x] %}", 40) +
                                      "{{ [x, x] | sort | length }}"},
        HostileCase{"SharedUnique", "{% set x = [1] %}" +
                                        repeated("{% set x = [x, x, x, x] %}", 40) +
                                        "{{ [x, x] | unique | list | length }}"},
        HostileCase{"DeepPrinted", "{% set ns = namespace(x=[]) %}" + kLoop +
                                       "{% set ns.x = " + kDeep +
                                       " %}{% if b * 60 > 100000 %}{{ ns.x }}{% endif %}" + kEnd},
        HostileCase{"DeepDropped", "{% set ns = namespace(x=[]) %}" + kLoop +
                                       "{% set ns.x = " + kDeep + " %}" + kEnd},
        HostileCase{"DeepPrintedLater",
                    "{% set ns = namespace(x=[]) %}{% for b in range(1500) %}{% set ns.x = " +
                        kDeep + " %}{% endfor %}{{ ns.x }}"},
        HostileCase{"DeepJson",
                    "{% set ns = namespace(x=[]) %}{% for b in range(1500) %}{% set ns.x = " +
                        kDeep + " %}{% endfor %}{{ ns.x | tojson }}"},
        HostileCase{
            "DeepEqual",
            "{% set ns = namespace(x=[]) %}{% for b in range(700) %}{% set ns.x = " + kDeep +
                " %}{% endfor %}{% set y = ns.x %}{% set ns.x = [] %}{% for b in range(700) %}{% "
                "set ns.x = " +
                kDeep + " %}{% endfor %}{{ y == ns.x }}"},
        HostileCase{"DeepMaps",
                    "{% set ns = namespace(x={}) %}{% for b in range(30000) %}{% set ns.x = {'a': "
                    "ns.x} %}{% endfor %}{{ ns.x }}{{ ns.x | pprint }}"},
        HostileCase{"DeepTuples",
                    "{% set ns = namespace(x=()) %}{% for b in range(30000) %}{% set ns.x = "
                    "(ns.x,) %}{% endfor %}{{ {ns.x: 1} | length }}"},
        HostileCase{"DeepSource",
                    repeated("{% set x = [[[[[[[[[[x]]]]]]]]]] %}", 7000) + "{{ x }}"},
        HostileCase{"NestedBlocks",
                    repeated("{% if true %}", 9000) + repeated("{% endif %}", 9000)},
        HostileCase{"NestedParentheses",
                    "{{ " + repeated("(", 100000) + "1" + repeated(")", 100000) + " }}"},
        HostileCase{"LongChain", "{{ 1" + repeated("+1", 120000) + " }}"},
        HostileCase{"LongFilters", "{{ 'x'" + repeated("|upper", 40000) + " }}"},
        HostileCase{"LongAttributes", "{{ x" + repeated(".y", 120000) + " }}"},
        HostileCase{"LongNot", "{{ " + repeated("not ", 60000) + "1 }}"},
        HostileCase{"LongElif",
                    "{% if false %}" + repeated("{% elif false %}", 16000) + "{% endif %}"},
        HostileCase{"RecursiveMacro", "{% macro m(x) %}{{ m([x]) }}{% endmacro %}{{ m(1) }}"},
        HostileCase{"RecursiveLoop", "{% for x in [1] recursive %}{{ loop([[x]]) }}{% endfor %}"},
        HostileCase{"BigRepeat", "{{ 'xxxxxxxxxxxxxxxx' * 1000000000000 }}"},
        HostileCase{"ManyRepeats", repeated("{% set y = 'xxxxxxxxxxxxxxxx' * 1000000 %}", 1000)},
        HostileCase{"BigRange", "{{ range(1000000000000) | list | length }}"},
        HostileCase{"BigIndent", "{{ 'a\nb' | indent(1000000000000) }}"},
        HostileCase{"BigFormat",
                    "{{ '%1000000000000d' | format(1) }}{{ '{:1000000000000}'.format(1) }}"},
        HostileCase{"BigPower", "{{ 2 ** 100000000 }}"},
        HostileCase{"BigReplace",
                    "{% set x = 'a' * 100000 %}{{ x | replace('a', x) | replace('a', x) }}"},
        HostileCase{"BigJoin", "{% set x = 'a' * 100000 %}{{ range(100000) | join(x) }}"},
        HostileCase{"BigJsonIndent",
                    "{{ range(100000) | list | tojson(indent=1000000000000) | length }}"},
        HostileCase{"BigDate",
                    "{{ strftime_now('%c' * 1000000) | length }}{{ strftime_now('%') }}"},
        HostileCase{"BigSource", std::string(1 << 20, 'x')}),
    [](const auto& param) { return param.param.name; });

}  // namespace
}  // namespace edgewise::text
