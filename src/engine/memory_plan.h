// How long a sequence may get and how many cache blocks there are, from what was asked and the
// memory at hand.
//
// Defaults: the cache may take a quarter of the memory that is available when the engine starts
// (the rest is for weights not yet resident, buffers and other programs); a sequence may take what
// the model was trained for, 8192 positions, or what fits the cache, whichever is least.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "base/result.h"

namespace edgewise::engine {

struct MemoryNeeds {
  std::int64_t trained_context = 0;
  std::int64_t block_bytes = 0;  // of one cache block, all layers; 0: the model keeps nothing
  std::int64_t available_bytes = 0;
  std::int64_t max_sequences = 1;
  std::int64_t asked_context = 0;       // 0: choose
  std::int64_t asked_budget_bytes = 0;  // 0: choose
};

struct MemoryPlan {
  std::int64_t context = 0;  // positions one sequence may take
  std::int64_t blocks = 0;   // at least enough for one sequence of `context`
};

// Fails when what was asked cannot be: a context beyond training, or beyond the budget.
Result<MemoryPlan> plan_memory(const MemoryNeeds& needs);

// What a model and its draft model may take, so that both caches hold equally many positions: changes
// `needs` to the model's part and returns the draft model's.
MemoryNeeds split_off_draft(MemoryNeeds& needs,
                            std::int64_t trained_context,
                            std::int64_t block_bytes);

// Blocks for a draft model of texts that have up to `context` tokens. Fails when there is no memory for
// one.
Result<std::int64_t> plan_draft_blocks(const MemoryNeeds& needs, std::int64_t context);

// What each of several models gets of `budget_bytes`, so that all hold equally many positions.
std::vector<std::int64_t> divide_budget(std::int64_t budget_bytes,
                                        std::span<const std::int64_t> bytes_per_position);

// Of the memory that is available: what keys and values of all models take when nothing is asked.
std::int64_t default_budget(std::int64_t available_bytes);

}  // namespace edgewise::engine
