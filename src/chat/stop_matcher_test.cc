#include "chat/stop_matcher.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

namespace edgewise::chat {
namespace {

struct Cut {
  std::string text;
  std::optional<std::string> stop;
};

Cut run(const std::vector<std::string>& stops, const std::vector<std::string>& pieces) {
  StopMatcher matcher(stops);
  Cut cut;
  for (const std::string& piece : pieces) {
    cut.text += matcher.push(piece);
  }
  if (!matcher.matched()) {
    cut.text += matcher.finish();
  }
  cut.stop = matcher.matched();
  return cut;
}

TEST(StopMatcher, FindsAStopAcrossPieces) {
  const Cut cut = run({"\nUser:"}, {"Hello", "\nUs", "er", ": hi"});
  EXPECT_EQ(cut.text, "Hello");
  EXPECT_EQ(cut.stop, "\nUser:");
}

TEST(StopMatcher, HoldsBackOnlyWhatMayBecomeAStop) {
  StopMatcher matcher({"END"});
  EXPECT_EQ(matcher.push("an E"), "an ");
  EXPECT_EQ(matcher.push("N"), "");
  EXPECT_EQ(matcher.push("E"), "EN");
  EXPECT_EQ(matcher.finish(), "E");
}

TEST(StopMatcher, TheStopThatIsCompleteFirstWins) {
  EXPECT_EQ(run({"abcd", "bc"}, {"xabcd"}).text, "xa");
  EXPECT_EQ(run({"bc", "abc"}, {"xabc"}).text, "x");  // both end here: the longer
}

TEST(StopMatcher, WithoutStopsEverythingPasses) {
  EXPECT_EQ(run({}, {"a", "b"}).text, "ab");
  EXPECT_EQ(run({""}, {"a", "b"}).text, "ab");
}

// The oracle is the definition: the least end of any occurrence, then the longest stop that ends
// there.
RC_GTEST_PROP(StopMatcherProperty, AgreesWithSearchingTheWholeText, ()) {
  const auto letters = rc::gen::container<std::string>(rc::gen::elementOf(std::string("ab")));
  const auto text = *letters;
  const auto stops = *rc::gen::resize(5, rc::gen::container<std::vector<std::string>>(letters));
  Cut expected{text, std::nullopt};
  for (std::size_t end = 1; end <= text.size() && !expected.stop; ++end) {
    for (const std::string& stop : stops) {
      const bool ends_here = !stop.empty() && std::string_view(text).substr(0, end).ends_with(stop);
      if (ends_here && (!expected.stop || stop.size() > expected.stop->size())) {
        expected = {text.substr(0, end - stop.size()), stop};
      }
    }
  }
  std::vector<std::string> pieces;
  for (std::size_t at = 0; at < text.size();) {
    const auto n = *rc::gen::inRange<std::size_t>(1, 5);
    pieces.push_back(text.substr(at, n));
    at += n;
  }
  const Cut got = run(stops, pieces);
  RC_ASSERT(got.text == expected.text);
  RC_ASSERT(got.stop == expected.stop);
}

}  // namespace
}  // namespace edgewise::chat
