// How one attention call is cut into pieces for the workers. Any cut gives the same bits, because blocks are merged
// in ascending order whoever computed them; a good cut gives every worker the same amount of work.
//
// A tile is a KV head's query heads over some tokens of a segment. It is one piece, unless a few tokens have a cache
// so long that too little is left for the other workers: then its blocks are split, the pieces leave partial results,
// and who finishes a tile's last piece merges them.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "kernels/kernel_table.h"

namespace edgewise::kernels {

// T consecutive tokens of one sequence against that sequence's cache, which already holds their own keys.
struct AttentionSegment {
  const float* q = nullptr;  // [T, H, D], row stride q_stride
  float* out = nullptr;      // [T, H, Dv], row stride out_stride
  std::int64_t tokens = 0;
  std::int64_t first_position = 0;
  std::int64_t kv_length = 0;       // positions held, own tokens included
  std::span<const KvBlock> blocks;  // this layer's blocks of 64 positions, ascending
};

struct AttentionPlan {
  struct Tile {
    std::int64_t segment = 0;
    std::int64_t kv_head = 0;
    std::int64_t token_begin = 0, token_end = 0;
    std::int64_t block_begin = 0, block_end = 0;  // that some token of the tile sees
    std::int64_t partials = -1;                   // offset in floats, -1: one piece, none needed
    int unfinished = 1;                           // pieces; counted down atomically while they run

    std::int64_t blocks() const { return block_end - block_begin; }
  };

  struct Piece {
    std::int64_t tile = 0;
    std::int64_t block_begin = 0, block_end = 0;
  };

  std::vector<Tile> tiles;
  std::vector<Piece> pieces;  // the costliest first
  std::int64_t partial_floats = 0;

  // Reuses memory.
  void assign(const AttentionShape& shape, std::span<const AttentionSegment> segments, int workers);

 private:
  void add_tiles(const AttentionShape& shape,
                 std::span<const AttentionSegment> segments,
                 int workers);
};

}  // namespace edgewise::kernels
