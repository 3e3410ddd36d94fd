#include "reuse/prefix_cache.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <algorithm>
#include <numeric>

namespace edgewise::reuse {
namespace {

using Tokens = std::vector<TokenId>;

std::unique_ptr<cache::KvCache> make_blocks(std::int64_t count) {
  return std::move(*cache::KvCache::create({{1, 1, 1}}, count));
}

// Stores `tokens` as a finished sequence would: allocates, inserts, gives its own references back.
void store(cache::KvCache& blocks,
           PrefixCache& prefixes,
           const std::string& scope,
           const Tokens& tokens) {
  std::vector<cache::BlockId> own;
  for (std::size_t i = 0; i < tokens.size(); i += 64) {
    own.push_back(blocks.allocate().value());
  }
  prefixes.insert(scope, tokens, own, false);
  for (const auto block : own) {
    blocks.release(block);
  }
}

void give_back(cache::KvCache& blocks, const PrefixCache::Match& match) {
  for (const auto block : match.full) {
    blocks.release(block);
  }
  if (match.partial) {
    blocks.release(*match.partial);
  }
}

std::int64_t matched(cache::KvCache& blocks,
                     PrefixCache& prefixes,
                     const std::string& scope,
                     const Tokens& tokens) {
  const auto match = prefixes.match(scope, tokens);
  give_back(blocks, match);
  return match.tokens();
}

Tokens counting(std::size_t n, TokenId first = 0) {
  Tokens tokens(n);
  std::iota(tokens.begin(), tokens.end(), first);
  return tokens;
}

TEST(PrefixCache, FindsSimilarTexts) {
  auto blocks = make_blocks(32);
  PrefixCache prefixes(*blocks);
  Tokens near = counting(150);  // as the one that is asked for, up to its 100th token
  Tokens nearer = counting(170);
  near[100] = nearer[130] = -1;
  const Tokens far = counting(100, 1000);
  const Tokens farther = counting(200, 2000);
  for (const Tokens& text : {nearer, far, farther, near}) {
    store(*blocks, prefixes, "a", text);
  }
  store(*blocks, prefixes, "b", counting(180));
  matched(*blocks, prefixes, "a", far);
  const auto found = [&](std::size_t most, std::int64_t tokens) {
    std::vector<Tokens> texts;
    for (const auto& text : prefixes.similar("a", counting(160), most, tokens)) {
      EXPECT_EQ(std::ssize(text.blocks), (std::ssize(text.tokens) + 63) / 64);
      texts.push_back(text.tokens);
    }
    return texts;
  };
  EXPECT_EQ(found(8, 1000), (std::vector<Tokens>{nearer, near, far, farther}));
  EXPECT_EQ(found(3, 1000), (std::vector<Tokens>{nearer, near, far}));
  EXPECT_EQ(found(8, 300), (std::vector<Tokens>{nearer, Tokens(near.begin(), near.begin() + 130)}));
  EXPECT_TRUE(prefixes.similar("c", counting(160), 8, 1000).empty());
  EXPECT_EQ(prefixes.evictable(), prefixes.size());
}

TEST(PrefixCache, MatchesAtTokenGranularity) {
  auto blocks = make_blocks(16);
  PrefixCache prefixes(*blocks);
  store(*blocks, prefixes, "", counting(150));
  EXPECT_EQ(matched(*blocks, prefixes, "", counting(200)), 150);
  EXPECT_EQ(matched(*blocks, prefixes, "", counting(100)), 100);
  Tokens differs = counting(150);
  differs[70] = -7;
  const auto match = prefixes.match("", differs);
  EXPECT_EQ(match.full.size(), 1U);
  EXPECT_EQ(match.partial_tokens, 6);
  give_back(*blocks, match);
}

TEST(PrefixCache, KeepsScopesApart) {
  auto blocks = make_blocks(16);
  PrefixCache prefixes(*blocks);
  store(*blocks, prefixes, "a", counting(100));
  EXPECT_EQ(matched(*blocks, prefixes, "b", counting(100)), 0);
  EXPECT_EQ(matched(*blocks, prefixes, "a", counting(100)), 100);
}

TEST(PrefixCache, StoresEqualPrefixesOnce) {
  auto blocks = make_blocks(16);
  PrefixCache prefixes(*blocks);
  store(*blocks, prefixes, "", counting(130));
  std::vector<cache::BlockId> own = {*blocks->allocate(), *blocks->allocate(), *blocks->allocate()};
  const std::vector<cache::BlockId> before = own;
  prefixes.insert("", counting(140), own, true);
  EXPECT_NE(own[0], before[0]);
  EXPECT_NE(own[1], before[1]);
  EXPECT_EQ(own[2], before[2]);  // its owner still writes to it
  EXPECT_EQ(blocks->capacity() - blocks->free_blocks(), 4);
  for (const auto block : own) {
    blocks->release(block);
  }
}

TEST(PrefixCache, GivesABeginningWithACopyOfThePartialBlock) {
  auto blocks = make_blocks(4);
  PrefixCache prefixes(*blocks);
  store(*blocks, prefixes, "", counting(100));
  auto match = prefixes.match("", counting(90));
  const auto full = match.full;
  const auto partial = *match.partial;
  const auto begun = prefixes.take(std::move(match));
  EXPECT_EQ(begun.tokens, 90);
  ASSERT_EQ(begun.blocks.size(), 2U);
  EXPECT_EQ(begun.blocks[0], full[0]);
  EXPECT_NE(begun.blocks[1], partial);
  EXPECT_EQ(blocks->references(partial), 1);  // the cache's
  for (const auto block : begun.blocks) {
    blocks->release(block);
  }
}

TEST(PrefixCache, ABeginningEndsWithWholeBlocksWhereMemoryDoes) {
  auto blocks = make_blocks(2);
  PrefixCache prefixes(*blocks);
  store(*blocks, prefixes, "", counting(100));
  const auto begun = prefixes.take(prefixes.match("", counting(90)));
  EXPECT_EQ(begun.tokens, 64);
  EXPECT_EQ(begun.blocks.size(), 1U);
  EXPECT_EQ(prefixes.evictable(), 1);
  EXPECT_TRUE(prefixes.allocate().has_value());  // of the partial block, that is no longer held
  EXPECT_FALSE(prefixes.allocate().has_value());
}

TEST(PrefixCache, EvictsTheLeafUsedLongestAgoAndNothingInUse) {
  auto blocks = make_blocks(16);
  PrefixCache prefixes(*blocks);
  store(*blocks, prefixes, "", counting(64, 0));
  store(*blocks, prefixes, "", counting(64, 1000));
  store(*blocks, prefixes, "", counting(64, 2000));
  EXPECT_EQ(matched(*blocks, prefixes, "", counting(64, 0)), 64);  // used again
  const auto held = prefixes.match("", counting(64, 1000));
  EXPECT_EQ(prefixes.evictable(), 2);
  ASSERT_TRUE(prefixes.evict_one());
  EXPECT_EQ(matched(*blocks, prefixes, "", counting(64, 2000)), 0);
  ASSERT_TRUE(prefixes.evict_one());
  EXPECT_EQ(matched(*blocks, prefixes, "", counting(64, 0)), 0);
  EXPECT_FALSE(prefixes.evict_one());
  give_back(*blocks, held);
  ASSERT_TRUE(prefixes.evict_one());
  EXPECT_EQ(blocks->free_blocks(), blocks->capacity());
}

TEST(PrefixCache, KeepsWhatIsUsedOftenOverWhatIsNew) {
  auto blocks = make_blocks(16);
  PrefixCache prefixes(*blocks);
  store(*blocks, prefixes, "", counting(64));
  for (int i = 0; i < 3; ++i) {
    matched(*blocks, prefixes, "", counting(64));
  }
  for (TokenId i = 1; i <= 3; ++i) {
    store(*blocks, prefixes, "", counting(64, 1000 * i));
    ASSERT_TRUE(prefixes.evict_one());
    EXPECT_EQ(prefixes.size(), 1);
    const auto match = prefixes.peek("", counting(64));
    EXPECT_EQ(match.tokens(), 64);
    give_back(*blocks, match);
  }
  // An old favourite fades.
  for (TokenId i = 4; i <= 20 && prefixes.size() > 0; ++i) {
    store(*blocks, prefixes, "", counting(64, 1000 * i));
    ASSERT_TRUE(prefixes.evict_one());
  }
  EXPECT_EQ(matched(*blocks, prefixes, "", counting(64)), 0);
}

TEST(PrefixCache, KeepsWhatCostsMoreToComputeAgain) {
  auto blocks = make_blocks(64);
  PrefixCache prefixes(*blocks);
  store(*blocks, prefixes, "", counting(64 * 20));  // its end attends to 1,216 positions
  store(*blocks, prefixes, "", counting(64, 5000));
  ASSERT_TRUE(prefixes.evict_one());
  EXPECT_EQ(matched(*blocks, prefixes, "", counting(64 * 20)), 64 * 20);
  EXPECT_EQ(matched(*blocks, prefixes, "", counting(64, 5000)), 0);
}

// The oracle is the definition: the longest common prefix with anything that was stored.
RC_GTEST_PROP(PrefixCacheProperty, FindsTheLongestStoredPrefixAndLosesNoBlock, ()) {
  const auto token = rc::gen::inRange<TokenId>(0, 2);
  const auto stem = *rc::gen::container<Tokens>(200, token);
  // Sequences that branch off a common stem at random places.
  const auto branches = *rc::gen::container<std::vector<std::pair<std::size_t, Tokens>>>(
      rc::gen::pair(rc::gen::inRange<std::size_t>(0, 200), rc::gen::container<Tokens>(token)));
  auto blocks = make_blocks(4096);
  PrefixCache prefixes(*blocks);
  std::vector<Tokens> stored;
  for (const auto& [cut, tail] : branches) {
    Tokens tokens(stem.begin(), stem.begin() + static_cast<std::ptrdiff_t>(cut));
    tokens.insert(tokens.end(), tail.begin(), tail.end());
    std::int64_t longest = 0;
    for (const Tokens& other : stored) {
      longest = std::max<std::int64_t>(
          longest, std::mismatch(tokens.begin(), tokens.end(), other.begin(), other.end()).first -
                       tokens.begin());
    }
    RC_ASSERT(matched(*blocks, prefixes, "s", tokens) == longest);
    store(*blocks, prefixes, "s", tokens);
    RC_ASSERT(matched(*blocks, prefixes, "s", tokens) == static_cast<std::int64_t>(tokens.size()));
    RC_ASSERT(prefixes.size() == blocks->capacity() - blocks->free_blocks());
    RC_ASSERT(prefixes.evictable() == prefixes.size());
    const auto held = prefixes.match("s", tokens);
    RC_ASSERT(prefixes.evictable() ==
              prefixes.size() - std::ssize(held.full) - (held.partial.has_value() ? 1 : 0));
    give_back(*blocks, held);
    stored.push_back(tokens);
  }
  while (prefixes.evict_one()) {
  }
  RC_ASSERT(blocks->free_blocks() == blocks->capacity());
}

}  // namespace
}  // namespace edgewise::reuse
