// A draft model computes of each text what it lacks, and guesses for all together.
#include "speculation/draft_model.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <algorithm>
#include <map>

#include "model/toy_model.h"

namespace edgewise::speculation {
namespace {

using model::some_tokens;
using model::Tokens;

const std::string kTenant;

struct Bed {
  explicit Bed(std::int64_t blocks = 16, const model::ToyOptions& options = {}) {
    auto toy = std::make_unique<model::ToyModel>(options);
    model = toy.get();
    drafts = std::make_unique<DraftModel>(std::move(toy),
                                          std::move(*cache::KvCache::create({{1, 1, 1}}, blocks)),
                                          DraftModel::Clock::now);
    computed_before = model->tokens_computed();
  }

  static DraftModel::Text text(RequestId id, const Tokens& tokens) {
    return {id, &kTenant, tokens};
  }

  static DraftModel::Wish wish(RequestId id, const Tokens& tokens, std::int64_t count) {
    return {.text = text(id, tokens),
            .count = count,
            .choose = [](std::int64_t, std::span<float> logits) -> std::optional<TokenId> {
              return static_cast<TokenId>(std::max_element(logits.begin(), logits.end()) -
                                          logits.begin());
            }};
  }

  std::int64_t computed() const { return model->tokens_computed() - computed_before; }

  model::ToyModel* model = nullptr;
  std::unique_ptr<DraftModel> drafts;
  std::int64_t computed_before = 0;
};

// What the toy says when it is asked for one text, all of it at once.
Tokens go_on(const Tokens& tokens, std::int64_t count, const model::ToyOptions& options = {}) {
  Bed bed(16, options);
  return bed.drafts->guess(std::vector{Bed::wish(1, tokens, count)}).front();
}

TEST(DraftModel, ComputesOnlyWhatItLacks) {
  Bed bed;
  Tokens tokens = some_tokens(100);
  EXPECT_EQ(bed.drafts->missing(Bed::text(1, tokens)), 100);
  EXPECT_TRUE(bed.drafts->read(Bed::text(1, tokens), 60));
  EXPECT_EQ(bed.drafts->missing(Bed::text(1, tokens)), 40);
  EXPECT_TRUE(bed.drafts->read(Bed::text(1, tokens), 500));
  EXPECT_EQ(bed.drafts->missing(Bed::text(1, tokens)), 1);  // whose logits are wanted
  EXPECT_EQ(bed.computed(), 99);
  const Tokens draft = bed.drafts->guess(std::vector{Bed::wish(1, tokens, 4)}).front();
  EXPECT_EQ(draft, go_on(tokens, 4));
  EXPECT_EQ(bed.computed(), 103);
  // Two were right, then another token came.
  tokens.insert(tokens.end(), {draft[0], draft[1], static_cast<TokenId>(draft[2] == 7 ? 8 : 7)});
  EXPECT_EQ(bed.drafts->missing(Bed::text(1, tokens)), 1);
  EXPECT_EQ(bed.drafts->guess(std::vector{Bed::wish(1, tokens, 3)}).front(), go_on(tokens, 3));
}

TEST(DraftModel, RemembersBeginnings) {
  Bed bed;
  const Tokens tokens = some_tokens(150);
  bed.drafts->read(Bed::text(1, tokens), 500);
  bed.drafts->forget(Bed::text(1, tokens));
  Tokens longer = tokens;
  longer.push_back(3);
  EXPECT_EQ(bed.drafts->missing(Bed::text(2, longer)), 2);
  EXPECT_EQ(bed.drafts->guess(std::vector{Bed::wish(2, longer, 3)}).front(), go_on(longer, 3));
  const std::string other = "somebody else";
  EXPECT_EQ(bed.drafts->missing({3, &other, longer}), 151);
}

TEST(DraftModel, EndsWhereItsContextOrVocabularyDoes) {
  Bed bed(16, {.vocab = 20, .context = 100});
  EXPECT_EQ(bed.drafts->most_guesses(Bed::text(1, Tokens(90, 5))), 11);
  EXPECT_EQ(bed.drafts->most_guesses(Bed::text(2, Tokens(101, 5))), 0);
  Tokens foreign(10, 5);
  foreign.push_back(20);
  EXPECT_EQ(bed.drafts->most_guesses(Bed::text(3, foreign)), 0);
}

TEST(DraftModel, WithoutMemoryThereIsNoGuess) {
  Bed bed(2);
  const Tokens one = some_tokens(100);
  const Tokens other = some_tokens(60, 3);
  EXPECT_EQ(bed.drafts->guess(std::vector{Bed::wish(1, one, 2)}).front().size(), 2U);
  EXPECT_EQ(bed.drafts->most_guesses(Bed::text(2, other)), 0);
  EXPECT_TRUE(bed.drafts->guess(std::vector{Bed::wish(2, other, 2)}).front().empty());
  bed.drafts->forget(Bed::text(1, one));
  EXPECT_EQ(bed.drafts->most_guesses(Bed::text(2, other)), 128 - 60 + 1);
  EXPECT_EQ(bed.drafts->guess(std::vector{Bed::wish(2, other, 2)}).front(), go_on(other, 2));
}

// Texts grow, by what was guessed and otherwise, come and go: guesses are always those of the text alone, and
// no block is lost.
RC_GTEST_PROP(DraftModelProperty, GuessesAsIfAlone, ()) {
  Bed bed(*rc::gen::inRange<std::int64_t>(1, 12), {.vocab = 6});
  std::map<RequestId, Tokens> texts;
  RequestId last = 0;
  const int rounds = *rc::gen::inRange(1, 30);
  for (int round = 0; round < rounds; ++round) {
    const int what = *rc::gen::inRange(0, 5);
    if (what == 0 || texts.empty()) {
      texts[++last] = some_tokens(*rc::gen::inRange<std::size_t>(1, 150));
      for (TokenId& token : texts[last]) {
        token %= 6;
      }
    } else if (what == 1) {
      const auto it =
          std::next(texts.begin(), *rc::gen::inRange<int>(0, static_cast<int>(texts.size())));
      bed.drafts->forget(Bed::text(it->first, it->second));
      texts.erase(it);
    } else if (what == 2) {
      const auto& [id, tokens] = *texts.begin();
      bed.drafts->read(Bed::text(id, tokens), *rc::gen::inRange<std::int64_t>(1, 100));
    } else {
      std::vector<DraftModel::Wish> wishes;
      for (const auto& [id, tokens] : texts) {
        const std::int64_t most = bed.drafts->most_guesses(Bed::text(id, tokens));
        const std::int64_t count = std::min(most, *rc::gen::inRange<std::int64_t>(0, 6));
        if (count > 0) {
          wishes.push_back(Bed::wish(id, tokens, count));
        }
      }
      const auto drafts = bed.drafts->guess(wishes);
      for (std::size_t i = 0; i < wishes.size(); ++i) {
        const Tokens before(wishes[i].text.tokens.begin(), wishes[i].text.tokens.end());
        RC_ASSERT(drafts[i].empty() || drafts[i] == go_on(before, wishes[i].count, {.vocab = 6}));
      }
      for (std::size_t i = 0; i < wishes.size(); ++i) {
        Tokens& tokens = texts[wishes[i].text.id];
        const auto right = *rc::gen::inRange<std::size_t>(0, drafts[i].size() + 1);
        tokens.insert(tokens.end(), drafts[i].begin(),
                      drafts[i].begin() + static_cast<std::ptrdiff_t>(right));
        tokens.push_back(*rc::gen::inRange<TokenId>(0, 6));
      }
    }
  }
  for (const auto& [id, tokens] : texts) {
    bed.drafts->forget(Bed::text(id, tokens));
  }
  bed.drafts->prefixes().clear();
  RC_ASSERT(bed.drafts->cache().free_blocks() == bed.drafts->cache().capacity());
}

}  // namespace
}  // namespace edgewise::speculation
