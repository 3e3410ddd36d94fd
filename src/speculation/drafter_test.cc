#include "speculation/drafter.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <algorithm>

namespace edgewise::speculation {
namespace {

using Tokens = std::vector<TokenId>;

// What drafter.h says, in the plainest way: every ending is compared with every earlier place.
class PlainDrafter {
 public:
  void append(TokenId token) {
    if (source_ >= 0) {
      length_ = text_[static_cast<std::size_t>(source_)] == token ? length_ + 1 : 0;
      ++source_;
    }
    text_.push_back(token);
    if (length_ < Drafter::kShortest) {
      look_back();
    }
  }

  Tokens draft(std::size_t most) const {
    Tokens all = text_;
    if (source_ < 0) {
      return {};
    }
    for (std::size_t i = 0; i < most; ++i) {
      all.push_back(all[static_cast<std::size_t>(source_) + i]);
    }
    return {all.end() - static_cast<std::ptrdiff_t>(most), all.end()};
  }

 private:
  std::int64_t common(std::int64_t end) const {  // of text_[0, end) and the whole
    std::int64_t n = 0;
    while (n < end && n < Drafter::kLongest &&
           text_[static_cast<std::size_t>(end - 1 - n)] ==
               text_[text_.size() - 1 - static_cast<std::size_t>(n)]) {
      ++n;
    }
    return n;
  }

  void look_back() {
    std::int64_t compared = 0, longest = Drafter::kShortest - 1;
    for (std::int64_t end = std::ssize(text_) - 1; end > 0; --end) {
      const std::int64_t length = common(end);
      if (length < Drafter::kShortest || compared++ >= Drafter::kCompared) {
        continue;
      }
      if (length > longest) {
        longest = length;
        source_ = end;
        length_ = length;
      }
    }
  }

  Tokens text_;
  std::int64_t source_ = -1, length_ = 0;
};

// A text that repeats itself: copies of earlier pieces with changes.
Tokens repetitive_text() {
  Tokens text = *rc::gen::container<Tokens>(rc::gen::inRange<TokenId>(0, 6));
  const int pieces = *rc::gen::inRange(0, 12);
  for (int i = 0; i < pieces && !text.empty(); ++i) {
    const auto begin = *rc::gen::inRange<std::size_t>(0, text.size());
    const auto size = *rc::gen::inRange<std::size_t>(0, text.size() - begin + 1);
    const Tokens copy(text.begin() + static_cast<std::ptrdiff_t>(begin),
                      text.begin() + static_cast<std::ptrdiff_t>(begin + size));
    text.insert(text.end(), copy.begin(), copy.end());
    text.push_back(*rc::gen::inRange<TokenId>(0, 1 << 20));
  }
  return text;
}

RC_GTEST_PROP(DrafterProperty, GuessesWhatPlainComparisonGuesses, ()) {
  const Tokens text = repetitive_text();
  const auto all = std::span<const TokenId>(text);
  const auto prompt = *rc::gen::inRange<std::size_t>(0, text.size() + 1);
  Drafter drafter(all.first(prompt));
  PlainDrafter plain;
  for (std::size_t i = 0; i < prompt; ++i) {
    plain.append(text[i]);
  }
  for (std::size_t at = prompt; at <= text.size(); ++at) {
    const auto most = *rc::gen::inRange<std::int64_t>(0, 20);
    drafter.follow(all.first(at));
    RC_ASSERT(drafter.draft(all.first(at), most) == plain.draft(static_cast<std::size_t>(most)));
    const std::vector<double> chances = drafter.chances(most);
    RC_ASSERT(chances.empty() || std::ssize(chances) == most);
    RC_ASSERT(std::is_sorted(chances.rbegin(), chances.rend()));
    RC_ASSERT(std::all_of(chances.begin(), chances.end(),
                          [](double chance) { return chance > 0.0 && chance < 1.0; }));
    if (at < text.size()) {
      plain.append(text[at]);
    }
  }
}

RC_GTEST_PROP(DrafterProperty, SeveralTokensAtOnceAreLikeOneByOne, ()) {
  const Tokens text = repetitive_text();
  const auto all = std::span<const TokenId>(text);
  Drafter at_once({});
  Drafter one_by_one({});
  for (std::size_t i = 0; i <= text.size(); ++i) {
    one_by_one.follow(all.first(i));
  }
  at_once.follow(all);
  RC_ASSERT(at_once.draft(all, 20) == one_by_one.draft(all, 20));
  RC_ASSERT(at_once.chances(20) == one_by_one.chances(20));
}

TEST(Drafter, FollowsACopyBehindAnExchangedToken) {
  const Tokens prompt = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10};
  Drafter drafter(prompt);
  Tokens text = prompt;
  text.insert(text.end(), {2, 3, 4});
  drafter.follow(text);
  EXPECT_EQ(drafter.draft(text, 3), (Tokens{5, 6, 7}));
  text.push_back(99);  // instead of 5
  drafter.follow(text);
  EXPECT_EQ(drafter.draft(text, 3), (Tokens{6, 7, 8}));
}

TEST(Drafter, AnOverlappingOccurrenceRepeatsItself) {
  const Tokens text = {1, 2, 1, 2, 1, 2};
  EXPECT_EQ(Drafter(text).draft(text, 5), (Tokens{1, 2, 1, 2, 1}));
}

TEST(Drafter, LearnsWhetherItsGuessesAreRight) {
  const Tokens prompt = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12};
  Drafter good(prompt);
  Drafter bad(prompt);
  Tokens copies = prompt;
  Tokens changes = prompt;
  for (TokenId i = 0; i < 30; ++i) {
    copies.insert(copies.end(), prompt.begin(), prompt.end());
    changes.insert(changes.end(), {1, 2, 3, 1000 + i});
  }
  changes.insert(changes.end(), {1, 2, 3});
  good.follow(copies);
  bad.follow(changes);
  EXPECT_GT(good.chances(4)[3], 0.9);
  EXPECT_LT(bad.chances(4)[0], 0.1);
}

}  // namespace
}  // namespace edgewise::speculation
