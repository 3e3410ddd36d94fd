// A step plan as rows: all segments' tokens one after another, and the rows whose final state somebody wants.
// Both implementations of Model work on this.
#pragma once

#include <cstdint>
#include <vector>

#include "model/model.h"

namespace edgewise::model {

struct FlatPlan {
  struct Part {
    const Segment* segment = nullptr;
    std::int64_t first_row = 0;     // of its tokens
    std::int64_t first_wanted = 0;  // index into `wanted`
    std::int64_t wanted = 0;        // how many

    std::int64_t tokens() const { return std::ssize(segment->tokens); }
  };

  std::vector<Part> parts;              // one a segment
  std::vector<TokenId> tokens;          // [T]
  std::vector<std::int64_t> positions;  // [T]
  std::vector<std::int64_t> part_of;    // [T]
  std::vector<std::int64_t> wanted;     // rows, ascending

  std::int64_t rows() const { return std::ssize(tokens); }

  // Where the keys and values of a row go: its block and the slot in it.
  cache::BlockId block(std::int64_t row) const;

  std::int64_t slot(std::int64_t row) const {
    return positions[static_cast<std::size_t>(row)] % kernels::kKeyBlock;
  }

  // Checks the plan against the model's requirements (a violation is a CHECK) and lists its rows. Reuses memory.
  void assign(const StepPlan& plan, const ModelSpec& spec);
};

std::vector<cache::KvLayerShape> kv_shapes_of(const ModelSpec& spec);

// How a model without a word on it pools its embeddings.
inline Pooling pooling_of(const ModelSpec& spec) {
  return spec.pooling == Pooling::kNone ? Pooling::kMean : spec.pooling;
}

}  // namespace edgewise::model
