#include "chat/reasoning_parser.h"

#include <gtest/gtest.h>

namespace edgewise::chat {
namespace {

struct Split {
  std::string reasoning;
  std::string content;
  bool operator==(const Split&) const = default;
};

Split run(std::string_view text, bool opened, std::size_t cut, std::size_t piece) {
  ReasoningParser parser({"<think>", "</think>"}, opened);
  Split out;
  parser.push(text.substr(0, cut), out.reasoning, out.content);
  for (std::size_t at = cut; at < text.size(); at += piece) {
    parser.push(text.substr(at, piece), out.reasoning, out.content);
  }
  parser.finish(out.reasoning, out.content);
  return out;
}

struct Case {
  std::string_view text;
  bool opened;
  Split expected;
};

class ReasoningParserTest : public testing::TestWithParam<Case> {};

TEST_P(ReasoningParserTest, SplitsTheSameHoweverTheTextIsCut) {
  const Case& c = GetParam();
  EXPECT_EQ(run(c.text, c.opened, c.text.size(), 1), c.expected);
  EXPECT_EQ(run(c.text, c.opened, 0, 1), c.expected);
  for (std::size_t cut = 0; cut <= c.text.size(); ++cut) {
    const Split got = run(c.text, c.opened, cut, 1000);
    EXPECT_EQ(got, c.expected) << cut << ": " << got.reasoning << " | " << got.content;
  }
}

INSTANTIATE_TEST_SUITE_P(
    Cases,
    ReasoningParserTest,
    testing::Values(
        Case{"<think>\nLet me see.\n</think>\n\nParis.", false, {"Let me see.", "Paris."}},
        Case{"Let me see.\n</think>\n\nParis.", true, {"Let me see.", "Paris."}},
        Case{"\n<think>a  b\n\nc</think>d", false, {"a  b\n\nc", "d"}},
        Case{"<think>\n\n</think>\n\nNo thought.", false, {"", "No thought."}},
        Case{"Paris. <think>not reasoning</think>",
             false,
             {"", "Paris. <think>not reasoning</think>"}},
        Case{"  plain", false, {"", "  plain"}},
        Case{"<thin air", false, {"", "<thin air"}},
        Case{"<thi", false, {"", "<thi"}},
        Case{"<think>cut off </thi", false, {"cut off </thi", ""}},
        Case{"<think>1 < 2 </thinking> </think>x", false, {"1 < 2 </thinking>", "x"}},
        Case{"<think>a</think> b</think> c", false, {"a", "b</think> c"}},
        Case{"", true, {"", ""}}));

TEST(ReasoningTags, ComeFromTheTemplateAndThePrompt) {
  EXPECT_FALSE(reasoning_tags_of("{{ messages }}").has_value());
  const auto tags = reasoning_tags_of("{{ '<think>\\n\\n</think>' }}");
  ASSERT_TRUE(tags.has_value());
  EXPECT_TRUE(opens_reasoning("<|im_start|>assistant\n<think>\n", *tags));
  EXPECT_FALSE(opens_reasoning("<|im_start|>assistant\n<think>\n\n</think>\n\n", *tags));
}

}  // namespace
}  // namespace edgewise::chat
