// A second, smaller model that guesses how texts go on (docs/decisions/014-draft-model.md): its
// weights, a cache of its own, and what it has computed of each text. It lags behind: nothing is
// computed before it is asked, and then what is missing. What it reads of a text stays as reusable
// prefix when the text ends, per tenant, until memory is needed.
//
// Knows nothing of what guesses are worth; that is the engine's (engine/runner_speculation.cc). Used by the engine
// thread, in the engine's turn; seconds are of the clock that it is given.
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <unordered_map>
#include <vector>

#include "base/ids.h"
#include "cache/kv_cache.h"
#include "model/model.h"
#include "reuse/prefix_cache.h"
#include "speculation/draft_plan.h"

namespace edgewise::speculation {

class DraftModel {
 public:
  using Clock = std::chrono::steady_clock;

  struct Text {
    RequestId id = 0;
    const std::string* tenant = nullptr;
    std::span<const TokenId> tokens;  // at least one; grows between calls, and never changes else
  };

  struct Wish {
    Text text;
    std::int64_t count = 0;    // at least 1, and at most what most_guesses() says
    std::int64_t largest = 0;  // model::Segment::largest
    // A guess, from the logits of place `place` (scratch); nullopt: none, and no further ones.
    std::function<std::optional<TokenId>(std::int64_t place, std::span<float> logits)> choose;
  };

  // Computes a few tokens at once, to learn what a step takes.
  DraftModel(std::unique_ptr<model::Model> model,
             std::unique_ptr<cache::KvCache> cache,
             std::function<Clock::time_point()> now);
  ~DraftModel();

  // How many tokens behind `text` it could guess, by its context, its vocabulary and the memory that
  // no other text has.
  std::int64_t most_guesses(const Text& text);

  // Rows that have to be computed for the first guess: 1 when all but the last were.
  std::int64_t missing(const Text& text);

  // Computes up to `most` of what is missing, but never the last token. False: no memory.
  bool read(const Text& text, std::int64_t most);

  // [wish] guesses of what follows; all texts together in one step a place. Fewer where memory ends.
  std::vector<std::vector<TokenId>> guess(std::span<const Wish> wishes);

  // The text ended or has to wait. Unknown ones are ignored.
  void forget(const Text& text);

  const steps::StepTimes& times() const { return times_; }

  double busy_seconds() const { return busy_seconds_; }

  const model::Model& model() const { return *model_; }

  const cache::KvCache& cache() const { return *cache_; }

  reuse::PrefixCache& prefixes() { return prefixes_; }

 private:
  struct Progress {
    std::vector<TokenId> computed;  // tokens whose keys and values lie in `blocks`
    std::vector<cache::BlockId> blocks;
    std::size_t agreed = 0;   // leading ones of them that are the text's
    std::size_t checked = 0;  // leading tokens of the text that are in the vocabulary
    bool is_foreign = false;  // there was one that is not
  };

  Progress& follow(const Text& text);
  void begin(Progress& progress, const Text& text);
  bool reserve(Progress& progress, std::int64_t positions);
  model::StepResult forward(const model::StepPlan& plan);
  void measure_first();

  std::unique_ptr<model::Model> model_;
  std::unique_ptr<cache::KvCache> cache_;
  std::function<Clock::time_point()> now_;
  reuse::PrefixCache prefixes_;
  steps::StepTimes times_;
  double busy_seconds_ = 0.0;
  std::unordered_map<RequestId, Progress> texts_;
};

}  // namespace edgewise::speculation
