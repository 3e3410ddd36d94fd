#define PCRE2_CODE_UNIT_WIDTH 8
#include "text/pre_tokenizer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <pcre2.h>
#include <utf8proc.h>

#include <chrono>

#include "text/random_text.h"
#include "text/unicode.h"

namespace edgewise::text {
namespace {

std::vector<std::string> words(const PreTokenizer& pre, const std::string& text) {
  std::vector<std::string> out;
  std::size_t begin = 0;
  for (const std::size_t end : pre.split(text)) {
    out.push_back(text.substr(begin, end - begin));
    begin = end;
  }
  return out;
}

PreTokenizer make(std::string_view name, bool use_scanners = true) {
  auto pre = PreTokenizer::create(name, use_scanners);
  EXPECT_TRUE(pre) << pre.error().message;
  return std::move(pre).value();
}

// A character of a class that PCRE2 and utf8proc (another Unicode version) see differently.
class Disagreements {
 public:
  Disagreements() {
    int error = 0;
    std::size_t offset = 0;
    const char* pattern =
        R"((\p{L})|(\p{M})|(\p{N})|([\x{9}-\x{D}\x{20}\x{85}\x{A0}\x{1680}\x{2000}-\x{200A}\x{2028}\x{2029}\x{202F}\x{205F}\x{3000}]))";
    code_ = pcre2_compile(reinterpret_cast<PCRE2_SPTR>(pattern), PCRE2_ZERO_TERMINATED, PCRE2_UTF,
                          &error, &offset, nullptr);
    match_ = pcre2_match_data_create(8, nullptr);
  }

  ~Disagreements() {
    pcre2_match_data_free(match_);
    pcre2_code_free(code_);
  }

  Disagreements(const Disagreements&) = delete;
  Disagreements& operator=(const Disagreements&) = delete;

  bool at(std::uint32_t code) const {
    std::string bytes;
    append_code_point(code, bytes);
    const int groups = pcre2_match(code_, reinterpret_cast<PCRE2_SPTR>(bytes.data()), bytes.size(),
                                   0, 0, match_, nullptr);
    const CharClass theirs = groups == 2   ? CharClass::kLetter
                             : groups == 3 ? CharClass::kMark
                             : groups == 4 ? CharClass::kNumber
                             : groups == 5 ? CharClass::kSpace
                                           : CharClass::kOther;
    return char_class(code) != theirs;
  }

  bool in(const std::string& text) const {
    for (std::size_t i = 0; i < text.size();) {
      const CodePoint c = decode_code_point(text, i);
      if (c.code >= 0x80 && at(c.code)) {
        return true;
      }
      i += c.length;
    }
    return false;
  }

 private:
  pcre2_code* code_ = nullptr;
  pcre2_match_data* match_ = nullptr;
};

TEST(PreTokenizer, ClassesAgreeWithPcre2ExceptOnCharactersThatOneOfThemDoesNotKnowYet) {
  const Disagreements disagreements;
  int different = 0;
  for (std::uint32_t code = 0; code < 0x110000; ++code) {
    if (code == 0xD800) {
      code = 0xE000;
    }
    different += disagreements.at(code) ? 1 : 0;
    if (code < 0x800) {
      EXPECT_FALSE(disagreements.at(code)) << code;
    }
  }
  EXPECT_LT(different, 10000);  // Unicode 14 to 15 added 4,489 characters, 14 to 16 9,674
}

class Scanners : public testing::TestWithParam<const char*> {};

TEST_P(Scanners, EqualPcre2OnRandomText) {
  const PreTokenizer scanner = make(GetParam(), true);
  const PreTokenizer reference = make(GetParam(), false);
  const Disagreements disagreements;
  RandomText random(20261124);
  int compared = 0;
  for (int i = 0; i < 40000; ++i) {
    const std::string text = random.next();
    if (disagreements.in(text)) {
      continue;
    }
    ++compared;
    ASSERT_EQ(words(scanner, text), words(reference, text))
        << "text " << i << ": " << testing::PrintToString(text);
  }
  EXPECT_GT(compared, 30000);
}

INSTANTIATE_TEST_SUITE_P(
    All,
    Scanners,
    testing::Values("gpt-2", "smollm", "llama-bpe", "qwen2", "qwen35", "laguna", "gemma4"),
    [](const testing::TestParamInfo<const char*>& name) {
      std::string shown = name.param;
      std::erase(shown, '-');
      return shown;
    });

TEST(PreTokenizer, EveryNameSplitsAnyTextCompletely) {
  RandomText random(7);
  std::vector<std::string> texts;
  for (int i = 0; i < 300; ++i) {
    texts.push_back(random.next());
  }
  for (const std::string_view name : PreTokenizer::known_names()) {
    const PreTokenizer pre = make(name);
    for (const std::string& text : texts) {
      std::size_t previous = 0;
      for (const std::size_t end : pre.split(text)) {
        ASSERT_GT(end, previous) << name;
        ASSERT_TRUE(is_valid_utf8(text.substr(previous, end - previous)))
            << name << " cut a character";
        previous = end;
      }
      ASSERT_EQ(previous, text.size()) << name;
    }
  }
}

// No pattern may need quadratic time, and none unbounded memory, for runs of one kind as long as a
// request can be. (For a run of n = 2^16, n^2 / 2 steps of a nanosecond take 2 s; linear time takes
// a few milliseconds.)
void expect_fast(std::string_view name, std::size_t size) {
  const PreTokenizer pre = make(name);
  for (const std::string unit :
       {"a", "A", " ", "\n", "!", "7", "\xE4\xB8\xAD", "a\xCC\x81 ", " \n"}) {
    std::string text;
    while (text.size() < size) {
      text += unit;
    }
    for (const char* last : {"", "x", "\xE4\xB8\xAD"}) {
      const auto start = std::chrono::steady_clock::now();
      const std::vector<std::size_t> ends = pre.split(text + last);
      const std::chrono::duration<double> took = std::chrono::steady_clock::now() - start;
      EXPECT_EQ(ends.back(), text.size() + std::string_view(last).size());
      EXPECT_LT(took.count(), 2.0) << name << " on a run of " << testing::PrintToString(unit);
    }
  }
}

TEST(PreTokenizer, LongRunsTakeLinearTime) {
  for (const std::string_view name : PreTokenizer::known_names()) {
    expect_fast(name, 1 << 16);
  }
}

TEST(PreTokenizer, AWordOfAMegabyteIsSplitAsAShortOne) {
  for (const std::string_view name :
       {"llama-bpe", "gpt-2", "tekken", "gpt-4o", "kimi-k2", "exaone-moe"}) {
    EXPECT_EQ(make(name).split(std::string(1 << 20, 'a')).size(), 1u) << name;
  }
}

TEST(PreTokenizer, AnUnknownNameIsAnErrorThatListsTheKnown) {
  const auto pre = PreTokenizer::create("no-such-model");
  ASSERT_FALSE(pre);
  EXPECT_EQ(pre.error().code, ErrorCode::kUnsupported);
  EXPECT_THAT(pre.error().message,
              testing::AllOf(testing::HasSubstr("no-such-model"), testing::HasSubstr("llama-bpe"),
                             testing::HasSubstr("tekken")));
}

TEST(PreTokenizer, SplitsAsTheFamiliesDo) {
  using testing::ElementsAre;
  EXPECT_THAT(
      words(make("llama-bpe"), "I'LL pay $12345.67  now\n\n ok"),
      ElementsAre("I", "'LL", " pay", " $", "123", "45", ".", "67", " ", " now", "\n\n", " ok"));
  EXPECT_THAT(words(make("qwen2"), "12 a"), ElementsAre("1", "2", " a"));
  EXPECT_THAT(words(make("smollm"), "x  12's"), ElementsAre("x", "  ", "1", "2", "'s"));
  EXPECT_THAT(words(make("tekken"), "HelloWorld ABCdef"), ElementsAre("Hello", "World", " ABCdef"));
  EXPECT_THAT(words(make("superbpe"), "a1234567b"), ElementsAre("a", "1", "234", "567", "b"));
}

}  // namespace
}  // namespace edgewise::text
