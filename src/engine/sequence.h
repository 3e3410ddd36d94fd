// One request on its way through the engine: its tokens, how many of them are computed, and the
// cache blocks that hold them. Owned by the engine thread once it was queued.
#pragma once

#include <algorithm>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "base/ids.h"
#include "cache/kv_cache.h"
#include "engine/engine.h"
#include "sampling/sampler.h"
#include "speculation/draft_odds.h"
#include "speculation/drafter.h"

namespace edgewise::engine {

struct PositionRange {
  std::int64_t begin = 0;
  std::int64_t end = 0;

  std::int64_t length() const { return end - begin; }
};

struct Sequence {
  RequestId id = 0;                          // ascending in order of arrival
  Request request;                           // its prompt has moved to `tokens`
  std::optional<sampling::Sampler> sampler;  // none for embeddings

  std::vector<TokenId> tokens;  // prompt, then what was generated
  std::int64_t prompt_tokens = 0;
  std::int64_t computed = 0;           // leading tokens whose keys and values lie in `blocks`
  std::vector<cache::BlockId> blocks;  // block i: positions [64 i, 64 i + 64)
  // Positions whose keys and values were taken over from other texts and lie in `blocks` already, though what comes before
  // them may not be computed yet. Ascending.
  std::vector<PositionRange> copied;

  Clock::time_point submitted;
  std::optional<Clock::time_point> admitted;  // first time
  std::optional<Clock::time_point> first_token;
  std::int64_t cached_tokens = 0;  // of the prompt, when first admitted
  // Of the prompt, taken over from other texts (Request::approximate_reuse); the most at any admission.
  std::int64_t approximate_tokens = 0;
  bool finished = false;  // reported; to be removed at the end of the step

  std::optional<speculation::Drafter> drafter;  // once it generates, with speculation
  std::int64_t drafted = 0;                     // tokens computed before they were drawn
  std::int64_t accepted = 0;                    // ... and then drawn
  // Of the draft model in this text, once it may guess.
  std::optional<speculation::DraftOdds> draft_odds;
  std::vector<TokenId> guesses;    // its last ones, of which some may be drafted
  std::int64_t model_drafted = 0;  // of the drafted tokens, its
  std::int64_t model_accepted = 0;

  std::optional<std::int64_t> known_prefix;  // tokens computed already, when last looked at
  std::int64_t known_reuse = 0;              // ... and others that could be taken over
  double value = 1.0;                        // of its being in time, beside its priority
  double charged_seconds = 0.0;              // to its tenant
  Clock::time_point due;                     // to begin reading its prompt

  std::int64_t target() const { return static_cast<std::int64_t>(tokens.size()); }

  // The tokens that may come from elsewhere: all but the last, whose logits are wanted.
  std::span<const TokenId> reusable() const {
    return std::span<const TokenId>(tokens).first(tokens.size() - 1);
  }

  // Tokens still to be computed.
  std::int64_t missing() const {
    std::int64_t missing = target() - computed;
    for (const PositionRange& range : copied) {
      missing -= range.begin >= computed ? range.length() : 0;
    }
    return missing;
  }

  // Up to here what is missing has nothing copied in it.
  std::int64_t gap_end() const {
    for (const PositionRange& range : copied) {
      if (range.begin >= computed) {
        return range.begin;
      }
    }
    return target();
  }

  // `count` more tokens are computed; what follows them may be there already.
  void advance(std::int64_t count) {
    computed += count;
    for (const PositionRange& range : copied) {
      computed = range.begin == computed ? range.end : computed;
    }
  }

  // Keys and values from here on are, or will be, approximate.
  std::int64_t exact_end() const { return copied.empty() ? target() : copied.front().begin; }

  // Leading tokens whose keys and values are what computing them gives: all that others may be given.
  std::int64_t exact() const { return std::min(computed, exact_end()); }

  std::int64_t generated() const { return target() - prompt_tokens; }
};

}  // namespace edgewise::engine
