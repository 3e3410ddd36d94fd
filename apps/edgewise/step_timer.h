// Seconds of single steps of a bare model: what bench and profile measure. One thread.
#pragma once

#include <cstdint>
#include <vector>

#include "bare_model.h"
#include "base/ids.h"

namespace edgewise::app {

// Token ids that are the same on every run and spread over the vocabulary (linear congruence of
// Knuth's MMIX).
class TokenStream {
 public:
  explicit TokenStream(std::int64_t vocab) : vocab_(static_cast<std::uint64_t>(vocab)) {}

  std::vector<TokenId> take(std::int64_t count);

 private:
  std::uint64_t vocab_;
  std::uint64_t state_ = 20260101;
};

class StepTimer {
 public:
  static constexpr std::int64_t kChunk = 512;  // prompt tokens in one step

  // Both must outlive this, and the cache must have room for what is asked.
  StepTimer(model::Model& model, cache::KvCache& cache)
      : model_(model), cache_(cache), tokens_(model.spec().vocab) {}

  cache::KvCache& cache() { return cache_; }

  void warm_up();  // pages, buffers, clock frequency

  // A sequence's first `length` positions in steps of at most `chunk` tokens; logits of the last one when asked.
  std::vector<double> prefill(SequenceBlocks& blocks,
                              std::int64_t length,
                              std::int64_t chunk,
                              bool with_logits);

  // The first `length` positions of all sequences, several of them in one step.
  void prefill_together(std::vector<SequenceBlocks>& sequences, std::int64_t length);

  // `steps` steps that give each sequence one token, the first at position `depth`.
  std::vector<double> decode(std::vector<SequenceBlocks>& sequences,
                             std::int64_t depth,
                             std::int64_t steps);

 private:
  double forward(const model::StepPlan& plan);

  model::Model& model_;
  cache::KvCache& cache_;
  TokenStream tokens_;
};

}  // namespace edgewise::app
