#include "cache/kv_cache.h"

#include <sys/mman.h>

#include <cerrno>
#include <cstring>
#include <deque>
#include <limits>

#include "base/check.h"

namespace edgewise::cache {
namespace {

// A block's layers lie one after another, each with all keys, then all values, then their scales where there are some,
// as kernels::KvBlock lays them out: so a block is one piece of memory to clear and copy, and the huge pages of a short
// sequence are full.
std::int64_t key_elements(const KvLayerShape& layer) {
  return layer.kv_heads * kernels::kKeyBlock * layer.head_dim;
}

std::int64_t value_elements(const KvLayerShape& layer) {
  return layer.kv_heads * kernels::kKeyBlock * layer.value_dim;
}

std::int64_t layer_block_bytes(const KvLayerShape& layer, kernels::KvType type) {
  return layer.kv_heads * kernels::kKeyBlock *
         kernels::kv_head_bytes(type, layer.head_dim, layer.value_dim);
}

constexpr std::int64_t kMaxHeads = 1 << 16;
constexpr std::int64_t kMaxDim = 1 << 16;

Result<void> check_shapes(std::span<const KvLayerShape> layers, std::int64_t blocks) {
  if (layers.empty() || blocks <= 0 || blocks > std::numeric_limits<BlockId>::max()) {
    return fail(ErrorCode::kInvalidArgument, "a KV cache of {} layers and {} blocks makes no sense",
                layers.size(), blocks);
  }
  for (const KvLayerShape& layer : layers) {
    if (layer.kv_heads <= 0 || layer.kv_heads > kMaxHeads || layer.head_dim <= 0 ||
        layer.head_dim > kMaxDim || layer.value_dim <= 0 || layer.value_dim > kMaxDim) {
      return fail(ErrorCode::kInvalidArgument,
                  "a KV cache layer of {} heads of {} and {} values makes no sense", layer.kv_heads,
                  layer.head_dim, layer.value_dim);
    }
  }
  return {};
}

}  // namespace

struct KvCache::State {
  struct Layer {
    KvLayerShape shape;
    std::int64_t offset = 0;  // in each block, bytes
  };

  std::byte* own_place(BlockId block) const { return arena + block_bytes * block; }

  std::byte* at(BlockId block) const {
    const std::byte* page = pages[static_cast<std::size_t>(block)].data();
    // Nobody writes to a page: it is full, and its memory is read-only.
    return page != nullptr ? const_cast<std::byte*>(page) : own_place(block);
  }

  ~State() {
    if (arena != nullptr) {
      ::munmap(arena, arena_bytes);
    }
  }

  kernels::KvType type = kernels::KvType::kF16;
  std::byte* arena = nullptr;
  std::size_t arena_bytes = 0;
  std::int64_t block_bytes = 0;  // of all layers
  std::vector<Layer> layers;
  std::vector<std::int32_t> references;  // [blocks]
  // A stack: the block freed last, whose memory is resident, is reused first. Pages, which use none
  // of the arena, take from its far end.
  std::deque<BlockId> free;
  std::vector<Page> pages;   // [blocks] empty: the content lies in the arena
  std::int64_t mapped = 0;   // blocks that are pages
  std::vector<bool> cached;  // [blocks] see set_cached()
  std::int64_t only_cached = 0;
  std::vector<bool> written;  // [blocks] handed out before, so possibly not zero
};

KvCache::~KvCache() = default;

std::int64_t KvCache::block_bytes(std::span<const KvLayerShape> layers, kernels::KvType type) {
  std::int64_t bytes = 0;
  for (const KvLayerShape& layer : layers) {
    bytes += layer_block_bytes(layer, type);
  }
  return bytes;
}

Result<std::unique_ptr<KvCache>> KvCache::create(std::vector<KvLayerShape> layers,
                                                 std::int64_t blocks,
                                                 kernels::KvType type) {
  TRY_VOID(check_shapes(layers, blocks));
  const std::int64_t per_block = block_bytes(layers, type);
  if (per_block > std::numeric_limits<std::int64_t>::max() / 2 / blocks) {
    return fail(ErrorCode::kResourceExhausted,
                "{} KV blocks of {} bytes exceed the address space; use a smaller context", blocks,
                per_block);
  }
  std::unique_ptr<KvCache> cache(new KvCache());
  cache->state_ = std::make_unique<State>();
  State& state = *cache->state_;
  state.type = type;
  state.arena_bytes = static_cast<std::size_t>(per_block * blocks);
  void* arena = ::mmap(nullptr, state.arena_bytes, PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (arena == MAP_FAILED) {
    return fail(ErrorCode::kResourceExhausted,
                "cannot reserve {} bytes for the KV cache: {}; use a smaller context",
                state.arena_bytes, std::strerror(errno));
  }
  state.arena = static_cast<std::byte*>(arena);
  ::madvise(arena, state.arena_bytes, MADV_HUGEPAGE);  // fewer page walks; refusal only costs speed
  for (const KvLayerShape& shape : layers) {
    state.layers.push_back({shape, state.block_bytes});
    state.block_bytes += layer_block_bytes(shape, type);
  }
  const auto count = static_cast<std::size_t>(blocks);
  state.references.assign(count, 0);
  state.written.assign(count, false);
  state.cached.assign(count, false);
  state.pages.resize(count);
  for (std::int64_t b = blocks - 1; b >= 0; --b) {
    state.free.push_back(static_cast<BlockId>(b));
  }
  return cache;
}

kernels::KvType KvCache::type() const {
  return state_->type;
}

std::int64_t KvCache::capacity() const {
  return std::ssize(state_->references);
}

std::int64_t KvCache::free_blocks() const {
  return std::ssize(state_->free);
}

std::optional<BlockId> KvCache::allocate() {
  State& state = *state_;
  if (state.free.empty()) {
    return std::nullopt;
  }
  const BlockId block = state.free.back();
  const auto index = static_cast<std::size_t>(block);
  state.free.pop_back();
  state.references[index] = 1;
  if (state.written[index]) {
    // A masked position contributes 0 times its value, which is 0 only while the value is finite.
    std::memset(state.own_place(block), 0, static_cast<std::size_t>(state.block_bytes));
  }
  state.written[index] = true;
  return block;
}

std::optional<BlockId> KvCache::adopt(Page page) {
  State& state = *state_;
  CHECK(std::ssize(page.bytes()) == state.block_bytes, "a page of {} bytes for blocks of {}",
        page.bytes().size(), state.block_bytes);
  if (state.free.empty()) {
    return std::nullopt;
  }
  const BlockId block = state.free.front();
  const auto index = static_cast<std::size_t>(block);
  state.free.pop_front();
  state.references[index] = 1;
  state.pages[index] = std::move(page);
  ++state.mapped;
  return block;
}

std::int64_t KvCache::mapped_blocks() const {
  return state_->mapped;
}

std::span<const std::byte> KvCache::bytes(BlockId block) const {
  CHECK(references(block) > 0, "block {} is free", block);
  return {state_->at(block), static_cast<std::size_t>(state_->block_bytes)};
}

std::int32_t KvCache::references(BlockId block) const {
  CHECK(block >= 0 && block < capacity(), "block {} of {}", block, capacity());
  return state_->references[static_cast<std::size_t>(block)];
}

void KvCache::retain(BlockId block) {
  CHECK(references(block) > 0, "block {} is free", block);
  const auto index = static_cast<std::size_t>(block);
  if (state_->references[index]++ == 1 && state_->cached[index]) {
    --state_->only_cached;
  }
}

void KvCache::release(BlockId block) {
  CHECK(references(block) > 0, "block {} is free", block);
  const auto index = static_cast<std::size_t>(block);
  const std::int32_t left = --state_->references[index];
  if (left == 0) {
    CHECK(!state_->cached[index], "block {} is cached and has no reference", block);
    if (state_->pages[index].data() != nullptr) {
      state_->pages[index] = Page();
      --state_->mapped;
      state_->free.push_front(block);
    } else {
      state_->free.push_back(block);
    }
  } else if (left == 1 && state_->cached[index]) {
    ++state_->only_cached;
  }
}

void KvCache::set_cached(BlockId block, bool cached) {
  CHECK(references(block) > 0, "block {} is free", block);
  const auto index = static_cast<std::size_t>(block);
  CHECK(state_->cached[index] != cached, "block {} is marked already", block);
  state_->cached[index] = cached;
  if (references(block) == 1) {
    state_->only_cached += cached ? 1 : -1;
  }
}

std::int64_t KvCache::only_cached() const {
  return state_->only_cached;
}

void KvCache::copy(BlockId from, BlockId to) {
  CHECK(references(from) > 0 && references(to) == 1 && from != to, "copying block {} to {}", from,
        to);
  CHECK(state_->pages[static_cast<std::size_t>(to)].data() == nullptr, "block {} is a page", to);
  std::memcpy(state_->at(to), state_->at(from), static_cast<std::size_t>(state_->block_bytes));
}

kernels::KvBlock KvCache::view(std::int64_t layer, BlockId block) const {
  CHECK(layer >= 0 && layer < std::ssize(state_->layers), "layer {}", layer);
  CHECK(references(block) > 0, "block {} is free", block);
  const State::Layer& of = state_->layers[static_cast<std::size_t>(layer)];
  std::byte* keys = state_->at(block) + of.offset;
  if (state_->type == kernels::KvType::kF16) {
    return {.type = state_->type, .k = keys, .v = keys + 2 * key_elements(of.shape)};
  }
  std::byte* values = keys + key_elements(of.shape);
  auto* scales = reinterpret_cast<float*>(values + value_elements(of.shape));
  return {.type = state_->type,
          .k = keys,
          .v = values,
          .k_scales = scales,
          .v_scales = scales + of.shape.kv_heads * kernels::kKeyBlock};
}

}  // namespace edgewise::cache
