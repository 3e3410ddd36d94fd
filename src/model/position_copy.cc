#include "model/position_copy.h"

#include <algorithm>
#include <cstring>

#include "base/check.h"
#include "model/rope.h"
#include "tensor/dtype.h"

namespace edgewise::model {
namespace {

using kernels::kKeyBlock;
using kernels::KvBlock;
using kernels::KvType;

constexpr std::int64_t kPanel = 16;  // positions of keys that lie together, see kernels::KvBlock

// Consecutive slots of one block that go to consecutive slots of another.
struct Piece {
  KvBlock from;
  KvBlock to;
  std::int64_t from_slot = 0;
  std::int64_t to_slot = 0;
  std::int64_t count = 0;
};

template <typename T>
void copy_keys(const Piece& piece, const T* from, T* to, std::int64_t heads, std::int64_t depth) {
  for (std::int64_t i = 0; i < piece.count;) {
    const std::int64_t a = piece.from_slot + i;
    const std::int64_t b = piece.to_slot + i;
    const std::int64_t together =
        std::min({piece.count - i, kPanel - a % kPanel, kPanel - b % kPanel});
    for (std::int64_t h = 0; h < heads; ++h) {
      const T* source = from + (h * kKeyBlock + a / kPanel * kPanel) * depth + a % kPanel;
      T* target = to + (h * kKeyBlock + b / kPanel * kPanel) * depth + b % kPanel;
      for (std::int64_t d = 0; d < depth; ++d) {
        std::copy_n(source + d * kPanel, together, target + d * kPanel);
      }
    }
    i += together;
  }
}

// [heads][64 positions][width]
template <typename T>
void copy_rows(const Piece& piece, const T* from, T* to, std::int64_t heads, std::int64_t width) {
  for (std::int64_t h = 0; h < heads; ++h) {
    std::copy_n(from + (h * kKeyBlock + piece.from_slot) * width, piece.count * width,
                to + (h * kKeyBlock + piece.to_slot) * width);
  }
}

class LayerCopy {
 public:
  LayerCopy(const KeyHistory& keys, std::size_t layer, std::int64_t shift, const kernels::Ops& ops)
      : spec_(keys.spec),
        layer_(spec_.layers[layer]),
        added_(keys.added[layer]),
        kernels_(ops.kernels()) {
    if (shift == 0 || !layer_.rope || spec_.rope_dims == 0) {
      return;
    }
    const auto table = static_cast<std::size_t>(layer_.rope_table);
    RopeSpec turn = spec_.ropes[table];
    turn.magnitude = 1.0;  // the keys have it
    const std::vector<double>& frequencies = keys.frequencies[table];
    cos_.resize(frequencies.size());
    sin_.resize(frequencies.size());
    rope_angles(turn, frequencies, shift, cos_.data(), sin_.data());
  }

  void run(const Piece& piece) const {
    if (cos_.empty()) {
      keep_keys(piece);
    } else {
      turn_keys(piece);
    }
    const std::int64_t width = spec_.value_dim;
    if (piece.to.type == KvType::kF16) {
      copy_rows(piece, piece.from.v_halves(), piece.to.v_halves(), layer_.kv_heads, width);
    } else {
      copy_rows(piece, piece.from.v_codes(), piece.to.v_codes(), layer_.kv_heads, width);
      copy_rows(piece, piece.from.v_scales, piece.to.v_scales, layer_.kv_heads, 1);
    }
  }

 private:
  void keep_keys(const Piece& piece) const {
    const std::int64_t heads = layer_.kv_heads;
    if (piece.to.type == KvType::kF16) {
      copy_keys(piece, piece.from.k_halves(), piece.to.k_halves(), heads, spec_.head_dim);
    } else {
      copy_keys(piece, piece.from.k_codes(), piece.to.k_codes(), heads, spec_.head_dim);
      copy_rows(piece, piece.from.k_scales, piece.to.k_scales, heads, 1);
    }
  }

  void turn_keys(const Piece& piece) const {
    const kernels::AttentionShape shape{
        .kv_heads = layer_.kv_heads, .head_dim = spec_.head_dim, .value_dim = spec_.value_dim};
    const auto keys = static_cast<std::size_t>(shape.kv_heads * shape.head_dim);
    std::vector<float> key(keys);
    // Stored along with each key, and then replaced.
    const std::vector<float> value(static_cast<std::size_t>(shape.kv_heads * shape.value_dim));
    for (std::int64_t i = 0; i < piece.count; ++i) {
      read_key(piece.from, piece.from_slot + i, key.data());
      kernels_.rope(spec_.rope_style, key.data(), shape.kv_heads, shape.head_dim, spec_.rope_dims,
                    cos_.data(), sin_.data());
      if (piece.to.type == KvType::kQ8 && !added_.empty()) {
        kernels_.add(added_.data(), std::ssize(added_), key.data());
      }
      kernels_.store_kv(shape, key.data(), value.data(), piece.to, piece.to_slot + i);
    }
  }

  // As it was when the rope had turned it, but for rounding.
  void read_key(const KvBlock& block, std::int64_t slot, float* key) const {
    const std::int64_t depth = spec_.head_dim;
    for (std::int64_t h = 0; h < layer_.kv_heads; ++h, key += depth) {
      const std::int64_t at = (h * kKeyBlock + slot / kPanel * kPanel) * depth + slot % kPanel;
      if (block.type == KvType::kF16) {
        for (std::int64_t d = 0; d < depth; ++d) {
          key[d] = tensor::f16_to_f32(block.k_halves()[at + d * kPanel]);
        }
        continue;
      }
      const float scale = block.k_scales[h * kKeyBlock + slot];
      for (std::int64_t d = 0; d < depth; ++d) {
        key[d] = static_cast<float>(block.k_codes()[at + d * kPanel]) * scale;
      }
      undo_transform(key);
      for (std::int64_t d = 0; d < depth && !added_.empty(); ++d) {
        key[d] -= added_[static_cast<std::size_t>(h * depth + d)];
      }
    }
  }

  // The Walsh-Hadamard transform of docs/arithmetic.md is its own inverse, times its size.
  void undo_transform(float* key) const {
    const std::int64_t depth = spec_.head_dim;
    const std::int64_t size = depth & -depth;
    for (std::int64_t stride = 1; stride < size; stride *= 2) {
      for (std::int64_t begin = 0; begin < depth; begin += 2 * stride) {
        for (std::int64_t i = begin; i < begin + stride; ++i) {
          const float a = key[i];
          const float b = key[i + stride];
          key[i] = a + b;
          key[i + stride] = a - b;
        }
      }
    }
    for (std::int64_t d = 0; d < depth; ++d) {
      key[d] /= static_cast<float>(size);
    }
  }

  const ModelSpec& spec_;
  const LayerSpec& layer_;
  const std::vector<float>& added_;
  const kernels::KernelTable& kernels_;
  std::vector<float> cos_, sin_;  // of the shift; empty: keys keep their bits
};

}  // namespace

void copy_positions(const KeyHistory& keys,
                    kernels::Ops& ops,
                    const PositionCopy& copy,
                    cache::KvCache& cache) {
  CHECK(copy.from >= 0 && copy.to >= 0 && copy.count > 0, "copying {} positions", copy.count);
  CHECK(cache::blocks_for(copy.from + copy.count) <= std::ssize(copy.source) &&
            cache::blocks_for(copy.to + copy.count) <= std::ssize(copy.blocks),
        "blocks are missing for {} positions", copy.count);
  std::vector<LayerCopy> layers;
  for (std::size_t i = 0; i < keys.spec.layers.size(); ++i) {
    layers.emplace_back(keys, i, copy.shift(), ops);
  }
  // A row of work is a layer of one of the blocks that are written.
  const std::int64_t first = copy.to / kKeyBlock;
  const std::int64_t count = cache::blocks_for(copy.to + copy.count) - first;
  const std::int64_t elements =
      kKeyBlock * keys.spec.layers[0].kv_heads * (keys.spec.head_dim + keys.spec.value_dim);
  ops.for_rows(count * std::ssize(layers), elements, [&](std::int64_t row) {
    const std::int64_t layer = row / count;
    const std::int64_t block = first + row % count;
    const std::int64_t end = std::min((block + 1) * kKeyBlock, copy.to + copy.count);
    for (std::int64_t at = std::max(block * kKeyBlock, copy.to); at < end;) {
      const std::int64_t source = at - copy.shift();
      const std::int64_t together = std::min(end - at, kKeyBlock - source % kKeyBlock);
      const auto view = [&](std::span<const cache::BlockId> blocks, std::int64_t position) {
        return cache.view(layer, blocks[static_cast<std::size_t>(position / kKeyBlock)]);
      };
      layers[static_cast<std::size_t>(layer)].run({.from = view(copy.source, source),
                                                   .to = view(copy.blocks, at),
                                                   .from_slot = source % kKeyBlock,
                                                   .to_slot = at % kKeyBlock,
                                                   .count = together});
      at += together;
    }
  });
}

}  // namespace edgewise::model
