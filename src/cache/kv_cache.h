// The memory of attention: keys and values of 16 or 8 bits in blocks of 64 positions, shared between sequences by
// reference count. Owned by the engine thread; holds bytes and counts, knows nothing of tokens.
//
// The whole arena is reserved as address space at creation; pages become resident when first written, so an
// unused context costs nothing. Released blocks keep their pages for reuse. A block may also be a page of a
// file (page_store.h), read where it is mapped: it takes a place, but none of the arena's memory.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "base/result.h"
#include "cache/page.h"
#include "kernels/kernel_table.h"

namespace edgewise::cache {

using BlockId = std::int32_t;

// Blocks that hold so many positions.
constexpr std::int64_t blocks_for(std::int64_t positions) {
  return (positions + kernels::kKeyBlock - 1) / kernels::kKeyBlock;
}

struct KvLayerShape {
  std::int64_t kv_heads = 0;
  std::int64_t head_dim = 0;
  std::int64_t value_dim = 0;
};

class KvCache {
 public:
  static Result<std::unique_ptr<KvCache>> create(std::vector<KvLayerShape> layers,
                                                 std::int64_t blocks,
                                                 kernels::KvType type = kernels::KvType::kF16);
  ~KvCache();

  static std::int64_t block_bytes(std::span<const KvLayerShape> layers,
                                  kernels::KvType type = kernels::KvType::kF16);

  kernels::KvType type() const;
  std::int64_t capacity() const;  // blocks
  std::int64_t free_blocks() const;

  std::optional<BlockId> allocate();  // reference count 1, content zero; nullopt: full
  // A block that is this page, read-only; reference count 1. nullopt: full.
  std::optional<BlockId> adopt(Page page);
  std::int64_t mapped_blocks() const;  // that were adopted
  void retain(BlockId block);
  void release(BlockId block);  // at count 0 the block is free again
  std::int32_t references(BlockId block) const;
  void copy(BlockId from, BlockId to);

  // Marks that one of a block's references is a cache's: it gives the block back when memory is
  // needed.
  void set_cached(BlockId block, bool cached);
  std::int64_t only_cached() const;  // blocks that nobody but the cache holds

  std::span<const std::byte> bytes(BlockId block) const;
  // Of an adopted block only to be read.
  kernels::KvBlock view(std::int64_t layer, BlockId block) const;

 private:
  KvCache() = default;
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace edgewise::cache
