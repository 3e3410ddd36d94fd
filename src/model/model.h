// A loaded model: hyper-parameters, packed weights, and the forward pass over a step plan. Knows tokens, blocks
// and logits; nothing of requests, text or time. One caller at a time (the engine thread).
#pragma once

#include <filesystem>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "base/ids.h"
#include "base/result.h"
#include "cache/kv_cache.h"
#include "kernels/ops.h"
#include "kernels/shortlist.h"
#include "model/model_spec.h"
#include "model/position_copy.h"
#include "tensor/model_file.h"

namespace edgewise::model {

enum class Want { kNothing, kLastLogits, kAllLogits, kEmbedding };

// One sequence's share of a step: consecutive tokens from `first_position`, whose keys and values go into
// `blocks` (block i holds positions [64 i, 64 i + 64); enough blocks for all positions up to the last token).
struct Segment {
  std::span<const TokenId> tokens;
  std::int64_t first_position = 0;
  std::span<const cache::BlockId> blocks;
  Want want = Want::kLastLogits;
  // kLastLogits: how many of the largest logits are needed, with all ties of the last one; the model may report
  // -infinity for the others. 0: all logits.
  std::int64_t largest = 0;
};

// All that crosses between scheduler and model.
struct StepPlan {
  std::vector<Segment> segments;
};

// Of a kEmbedding segment, all tokens must be in the one segment (an encoder's in any case): pooling is over it.
// Views into the model's buffers, valid until the next forward().
struct StepResult {
  // Logits rows [V] in segment order (kLastLogits one row a segment, kAllLogits one a token), or the pooled,
  // L2-normalized embedding [C] of a kEmbedding segment.
  std::span<const std::span<float>> rows;
};

struct LoadOptions {
  bool oracle = false;  // dequantized weights and doubles: slow, obviously right
  // Positions a sequence may take; 0: as trained. Longrope models (phi3) have other factors for long contexts.
  std::int64_t context = 0;
  // The output layer's largest logits from a shortlist (kernels/shortlist.h); all of its logits then take longer. Logged
  // where the model does not allow it.
  bool shortlist = false;
  // A folder of this model's own, where its packed weights may be kept for the next start
  // (packed_file.h); empty: they are not.
  std::filesystem::path packed_folder = {};
  std::function<void(double fraction)> on_progress =
      {};  // not called when nothing has to be packed
};

class Model {
 public:
  static Result<std::unique_ptr<Model>> load(std::shared_ptr<const tensor::ModelFile> file,
                                             kernels::Ops& ops,
                                             LoadOptions options = {});
  virtual ~Model() = default;

  virtual const ModelSpec& spec() const = 0;
  virtual std::vector<cache::KvLayerShape> kv_shapes() const = 0;
  virtual std::int64_t weight_bytes() const = 0;  // resident weights
  virtual std::int64_t weight_bytes_per_token()
      const = 0;  // read by one decode step, as stored in the file
  virtual std::int64_t macs_per_token() const = 0;  // multiply-adds with weights, logits included

  // Waits for what goes on beside the first steps (packed weights move into huge pages), so that measurements show
  // what stays.
  virtual void settle() {}

  // Of the output layer's products for segments that need only the largest logits.
  virtual kernels::ShortlistCounts shortlist_counts() const { return {}; }

  // Requires: token ids in [0, V), positions below the context length, blocks allocated and exclusively owned
  // where they are written. A violated requirement is a CHECK.
  virtual StepResult forward(const StepPlan& plan, cache::KvCache& cache) = 0;

  // Requires a causal model, blocks allocated and those that are written exclusively owned.
  virtual void copy_positions(const PositionCopy& copy, cache::KvCache& cache) = 0;
};

}  // namespace edgewise::model
