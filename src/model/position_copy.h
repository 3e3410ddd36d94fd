// Keys and values of one sequence taken over by another, at other positions. Values do not know where they are; keys were
// turned by the rope, so they are turned on by as many positions as they move: a rotation by p + d is one by p and one by d.
// What a token's keys and values say of the tokens before it stays as it was: exact only where those are the same.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "cache/kv_cache.h"
#include "kernels/ops.h"
#include "model/model_spec.h"

namespace edgewise::model {

// Positions [from, from + count) of the sequence that `source` belongs to become [to, to + count) of the one with `blocks`
// (block i holds positions [64 i, 64 i + 64)). The other slots of `blocks` are not touched.
struct PositionCopy {
  std::span<const cache::BlockId> source;
  std::int64_t from = 0;
  std::span<const cache::BlockId> blocks;
  std::int64_t to = 0;
  std::int64_t count = 0;

  std::int64_t shift() const { return to - from; }
};

// What the keys of each layer went through before they were stored.
struct KeyHistory {
  const ModelSpec& spec;
  std::span<const std::vector<double>> frequencies;  // of each rope
  // Of each layer, what was added to 8-bit keys before they were stored ([K, D], or empty; common_key.h).
  std::span<const std::vector<float>> added;
};

// Values, and keys that do not turn, keep their bits; the others are rounded once more (8-bit ones: quantized once more).
// The same bits on any number of threads and every instruction set.
void copy_positions(const KeyHistory& keys,
                    kernels::Ops& ops,
                    const PositionCopy& copy,
                    cache::KvCache& cache);

}  // namespace edgewise::model
