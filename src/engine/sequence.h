// One request on its way through the engine: its tokens, how many of them are computed, and the
// cache blocks that hold them. Owned by the engine thread once it was queued.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "base/ids.h"
#include "cache/kv_cache.h"
#include "engine/drafter.h"
#include "engine/engine.h"
#include "sampling/sampler.h"

namespace edgewise::engine {

struct Sequence {
  RequestId id = 0;                          // ascending in order of arrival
  Request request;                           // its prompt has moved to `tokens`
  std::optional<sampling::Sampler> sampler;  // none for embeddings

  std::vector<TokenId> tokens;  // prompt, then what was generated
  std::int64_t prompt_tokens = 0;
  std::int64_t computed = 0;           // leading tokens whose keys and values lie in `blocks`
  std::vector<cache::BlockId> blocks;  // block i: positions [64 i, 64 i + 64)

  Clock::time_point submitted;
  std::optional<Clock::time_point> admitted;  // first time
  std::optional<Clock::time_point> first_token;
  std::int64_t cached_tokens = 0;  // of the prompt, when first admitted
  bool finished = false;           // reported; to be removed at the end of the step

  std::optional<Drafter> drafter;  // once it generates, with speculation
  std::int64_t drafted = 0;        // tokens computed before they were drawn
  std::int64_t accepted = 0;       // ... and then drawn

  std::optional<std::int64_t> known_prefix;  // tokens computed already, when last looked at
  double value = 1.0;                        // of its being in time, beside its priority
  double charged_seconds = 0.0;              // to its tenant
  Clock::time_point due;                     // to begin reading its prompt

  std::int64_t target() const { return static_cast<std::int64_t>(tokens.size()); }

  // The tokens that may come from elsewhere: all but the last, whose logits are wanted.
  std::span<const TokenId> reusable() const {
    return std::span<const TokenId>(tokens).first(tokens.size() - 1);
  }

  std::int64_t generated() const { return target() - prompt_tokens; }
};

}  // namespace edgewise::engine
