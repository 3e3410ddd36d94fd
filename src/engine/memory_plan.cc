#include "engine/memory_plan.h"

#include <algorithm>
#include <numeric>

#include "cache/kv_cache.h"
#include "kernels/kernel_table.h"

namespace edgewise::engine {
namespace {

constexpr std::int64_t kBlock = kernels::kKeyBlock;
// Most conversations fit, and 32 of them still fit a small machine; who needs more asks for it.
constexpr std::int64_t kDefaultContextCap = 8192;
constexpr std::int64_t kShareOfMemory = 4;

double mebibytes(std::int64_t bytes) {
  return static_cast<double>(bytes) / (1 << 20);
}

}  // namespace

Result<MemoryPlan> plan_memory(const MemoryNeeds& needs) {
  if (needs.asked_context < 0 || needs.asked_budget_bytes < 0) {
    return fail(ErrorCode::kInvalidArgument, "context and cache size must not be negative");
  }
  if (needs.asked_context > needs.trained_context) {
    return fail(ErrorCode::kInvalidArgument,
                "a context of {} tokens was asked for, but the model was trained for {}; ask for "
                "at most that",
                needs.asked_context, needs.trained_context);
  }
  const std::int64_t block_bytes = std::max<std::int64_t>(1, needs.block_bytes);
  const bool budget_given = needs.asked_budget_bytes > 0;
  const std::int64_t budget =
      budget_given ? needs.asked_budget_bytes : default_budget(needs.available_bytes);
  std::int64_t blocks = budget / block_bytes;

  MemoryPlan plan;
  if (needs.asked_context > 0) {
    plan.context = needs.asked_context;
    const std::int64_t needed = cache::blocks_for(plan.context);
    // An explicit context may take more than the default share, but not more than there is.
    const std::int64_t limit = (budget_given ? budget : needs.available_bytes) / block_bytes;
    if (needed > limit) {
      return fail(ErrorCode::kResourceExhausted,
                  "a context of {} tokens needs {:.0f} MiB of cache, but {:.0f} MiB are {}; ask "
                  "for at most {} tokens",
                  plan.context, mebibytes(needed * block_bytes), mebibytes(limit * block_bytes),
                  budget_given ? "allowed" : "available", limit * kBlock);
    }
    blocks = std::max(blocks, needed);
  } else {
    if (blocks < 1) {
      return fail(ErrorCode::kResourceExhausted,
                  "the smallest cache takes {:.1f} MiB, but only {:.1f} MiB are allowed; free "
                  "memory or allow more",
                  mebibytes(block_bytes), mebibytes(budget));
    }
    plan.context = std::min({needs.trained_context, kDefaultContextCap, blocks * kBlock});
  }
  // More than this could never be in use by running sequences; twice it leaves as much for reusable
  // prefixes.
  plan.blocks = std::min(blocks, 2 * needs.max_sequences * cache::blocks_for(plan.context));
  return plan;
}

MemoryNeeds split_off_draft(MemoryNeeds& needs,
                            std::int64_t trained_context,
                            std::int64_t block_bytes) {
  MemoryNeeds draft = needs;
  draft.trained_context = trained_context;
  draft.block_bytes = block_bytes;
  draft.asked_context = 0;
  const std::vector<std::int64_t> bytes = {needs.block_bytes, block_bytes};
  for (std::int64_t MemoryNeeds::* part :
       {&MemoryNeeds::available_bytes, &MemoryNeeds::asked_budget_bytes}) {
    const std::vector<std::int64_t> shares = divide_budget(needs.*part, bytes);
    const std::int64_t least = needs.*part > 0 ? 1 : 0;  // 0 would mean: choose
    needs.*part = std::max(shares[0], least);
    draft.*part = std::max(shares[1], least);
  }
  return draft;
}

Result<std::int64_t> plan_draft_blocks(const MemoryNeeds& needs, std::int64_t context) {
  const MemoryPlan plan = TRY(plan_memory(needs));
  const std::int64_t longest = std::min(context, needs.trained_context);
  return std::min(plan.blocks, 2 * needs.max_sequences * cache::blocks_for(longest));
}

std::int64_t default_budget(std::int64_t available_bytes) {
  return available_bytes / kShareOfMemory;
}

std::vector<std::int64_t> divide_budget(std::int64_t budget_bytes,
                                        std::span<const std::int64_t> bytes_per_position) {
  const double all = static_cast<double>(
      std::accumulate(bytes_per_position.begin(), bytes_per_position.end(), std::int64_t{0}));
  std::vector<std::int64_t> shares;
  for (const std::int64_t bytes : bytes_per_position) {
    const double share = all > 0.0 ? static_cast<double>(bytes) / all : 0.0;
    shares.push_back(static_cast<std::int64_t>(share * static_cast<double>(budget_bytes)));
  }
  return shares;
}

}  // namespace edgewise::engine
