// Keys and values of token prefixes that were computed before, kept to be used again.
//
// A tree per scope, as in SGLang's radix cache but with one node per cache block: inner nodes hold
// 64 tokens, leaves may hold fewer. A match is exact at token granularity: whole blocks are shared
// by reference, and a block that agrees only in its first tokens is offered for copying. Tokens are
// compared, not hashed, so two prefixes are never confused. The cache holds one reference to each
// of its blocks. When memory runs out, the leaf goes that nobody else holds and that saves least:
// GreedyDual-Size-Frequency (Cherkasova 1998), by how often it was used times what computing it again
// costs, with the value of what went before added to whatever is used later, so that old favourites
// fade. One thread (the engine's).
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <tuple>
#include <vector>

#include "base/ids.h"
#include "cache/kv_cache.h"

namespace edgewise::reuse {

std::int64_t common_prefix(std::span<const TokenId> a, std::span<const TokenId> b);  // its length

class PrefixCache {
 public:
  explicit PrefixCache(cache::KvCache& blocks);
  ~PrefixCache();

  // The longest known prefix. All blocks are retained for the caller, who releases them.
  struct Match {
    std::vector<cache::BlockId> full;  // 64 valid positions each, never to be written
    std::optional<cache::BlockId>
        partial;  // to be copied: its first `partial_tokens` positions are valid
    std::int64_t partial_tokens = 0;
    std::int64_t tokens() const;
  };

  Match match(const std::string& scope, std::span<const TokenId> tokens);
  // The same, without counting as a use.
  Match peek(const std::string& scope, std::span<const TokenId> tokens) const;
  void use(const Match& match);

  // What a text can go on from: the caller's blocks, and how many of its tokens they hold. The partial
  // block of the match is copied, or left out where there is no memory for a copy.
  struct Beginning {
    std::vector<cache::BlockId> blocks;
    std::int64_t tokens = 0;
  };

  Beginning take(Match match);

  // Cached texts that may have parts in common with `tokens`: those first that begin with most of them, of equals
  // those used last. At most `most_texts` with `most_tokens` together (the last one may be cut). No use is counted and
  // nothing retained: the blocks are there until something is allocated or inserted.
  struct Text {
    std::vector<TokenId> tokens;
    std::vector<cache::BlockId>
        blocks;  // block i: positions [64 i, 64 i + 64), the last one partly filled
  };

  std::vector<Text> similar(const std::string& scope,
                            std::span<const TokenId> tokens,
                            std::size_t most_texts,
                            std::int64_t most_tokens) const;
  void use(std::span<const cache::BlockId> blocks);  // of such texts

  // Remembers `tokens`, whose keys and values lie in `blocks`. Where the cache already has a block
  // with the same content, the entry of `blocks` is exchanged for it, so that equal prefixes are
  // stored once. With `whole_blocks_only` the last, partly filled block is left out (its owner
  // still writes to it).
  void insert(const std::string& scope,
              std::span<const TokenId> tokens,
              std::span<cache::BlockId> blocks,
              bool whole_blocks_only);

  // Blocks of 64 tokens that were used again, for whoever keeps them beyond memory; counted from the
  // first call of watch_hot() on. Each comes at its second use, and at its 4th, 8th ... again.
  struct Hot {
    cache::BlockId block = -1;
    std::string scope;
    std::vector<TokenId> tokens;  // all up to the block's end
    bool is_stored = false;       // it came before, or set_stored() was called
  };

  void watch_hot() { watches_hot_ = true; }

  bool has_hot() const { return !hot_.empty(); }

  Hot take_hot();                         // the one hot for longest; requires has_hot()
  void set_stored(cache::BlockId block);  // it is kept elsewhere already

  bool evict_one();                          // false: nothing left that only the cache holds
  bool make_room();                          // evicts until a block is free; false: all are in use
  std::optional<cache::BlockId> allocate();  // likewise
  std::int64_t evictable() const;  // blocks that evict_one() could free, one after the other

  std::int64_t size() const { return size_; }

  void clear();

 private:
  struct Node;
  // Value, then last use, then (for one order on every machine) block.
  using Rank = std::tuple<double, std::uint64_t, cache::BlockId>;
  // Time of the use, then position (what is first is needed first), then block.
  using HotRank = std::tuple<std::uint64_t, std::int64_t, cache::BlockId>;

  struct Gathering;

  static Rank rank(const Node& node);
  void gather(const Node& node, std::span<const TokenId> wanted, Gathering& into) const;
  void use(Node& node);
  void note_hot(Node& node);
  Node& add(Node& parent, std::span<const TokenId> tokens, cache::BlockId block);
  void drop(Node& node);
  void drop_roots();

  cache::KvCache& blocks_;
  std::map<std::string, std::unique_ptr<Node>> roots_;
  std::vector<Node*> nodes_;  // by block; null where the cache has none
  std::set<Rank> leaves_;
  std::int64_t size_ = 0;    // nodes, roots not counted
  std::uint64_t clock_ = 0;  // counts uses, for "longest ago"
  double evicted_value_ = 0.0;
  bool watches_hot_ = false;
  std::set<HotRank> hot_;
};

}  // namespace edgewise::reuse
