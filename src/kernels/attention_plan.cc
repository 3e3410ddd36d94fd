#include "kernels/attention_plan.h"

#include <algorithm>
#include <tuple>

#include "base/check.h"

namespace edgewise::kernels {
namespace {

// Pieces that each worker should find: with fewer, the last ones keep a worker waiting; with more, partial results
// cost more than the balance gains.
constexpr std::int64_t kPiecesPerWorker = 4;
// A tile of more rows is not split: its partial results would be as much memory as the keys and values themselves.
constexpr std::int64_t kMostSplitRows = 32;
constexpr std::int64_t kLeastBlocks = 2;  // of a piece of a split tile

std::int64_t divide_up(std::int64_t a, std::int64_t b) {
  return (a + b - 1) / b;
}

}  // namespace

void AttentionPlan::add_tiles(const AttentionShape& shape,
                              std::span<const AttentionSegment> segments,
                              int workers) {
  const std::int64_t group = shape.heads / shape.kv_heads;
  std::int64_t tokens = 0;
  for (const AttentionSegment& segment : segments) {
    tokens += segment.tokens;
  }
  // Full tiles reuse each key most; short chunks take smaller ones, so that every worker gets some.
  const std::int64_t fair_share = divide_up(tokens * shape.kv_heads, kPiecesPerWorker * workers);
  const std::int64_t most = std::max<std::int64_t>(1, kAttentionTileRows / group);
  const std::int64_t least = std::max<std::int64_t>(1, kMostSplitRows / group);
  const std::int64_t tile_tokens = workers == 1 ? most : std::clamp(fair_share, least, most);
  for (std::size_t s = 0; s < segments.size(); ++s) {
    const AttentionSegment& segment = segments[s];
    for (std::int64_t begin = 0; begin < segment.tokens; begin += tile_tokens) {
      const std::int64_t end = std::min(segment.tokens, begin + tile_tokens);
      const std::int64_t first = segment.first_position + begin;
      const std::int64_t lowest =
          shape.window > 0 && first >= shape.window ? first - shape.window + 1 : 0;
      const std::int64_t length = shape.causal ? segment.first_position + end : segment.kv_length;
      for (std::int64_t head = 0; head < shape.kv_heads; ++head) {
        tiles.push_back({.segment = static_cast<std::int64_t>(s),
                         .kv_head = head,
                         .token_begin = begin,
                         .token_end = end,
                         .block_begin = lowest / kKeyBlock,
                         .block_end = divide_up(length, kKeyBlock)});
      }
    }
  }
}

void AttentionPlan::assign(const AttentionShape& shape,
                           std::span<const AttentionSegment> segments,
                           int workers) {
  const std::int64_t group = shape.heads / shape.kv_heads;
  CHECK(group <= kAttentionTileRows && shape.head_dim % 16 == 0 && shape.value_dim % 16 == 0);
  tiles.clear();
  pieces.clear();
  partial_floats = 0;
  add_tiles(shape, segments, workers);
  const auto rows = [&](const Tile& tile) { return (tile.token_end - tile.token_begin) * group; };
  const auto cost = [&](const Tile& tile) { return rows(tile) * tile.blocks(); };
  std::int64_t total = 0;
  for (const Tile& tile : tiles) {
    total += cost(tile);
  }
  const std::int64_t fair_cost =
      std::max<std::int64_t>(1, divide_up(total, kPiecesPerWorker * workers));
  for (std::size_t t = 0; t < tiles.size(); ++t) {
    Tile& tile = tiles[t];
    const std::int64_t parts = std::min(cost(tile) / fair_cost, tile.blocks() / kLeastBlocks);
    if (workers == 1 || parts < 2 || rows(tile) > kMostSplitRows) {
      pieces.push_back({static_cast<std::int64_t>(t), tile.block_begin, tile.block_end});
      continue;
    }
    const std::int64_t step = divide_up(tile.blocks(), parts);
    tile.partials = partial_floats;
    tile.unfinished = 0;
    partial_floats += tile.blocks() * attention_partial_floats(rows(tile), shape.value_dim);
    for (std::int64_t block = tile.block_begin; block < tile.block_end; block += step) {
      pieces.push_back(
          {static_cast<std::int64_t>(t), block, std::min(tile.block_end, block + step)});
      ++tile.unfinished;
    }
  }
  // A costly piece taken last would keep its worker alone at work.
  const auto cost_of = [&](const Piece& piece) {
    return rows(tiles[static_cast<std::size_t>(piece.tile)]) *
           (piece.block_end - piece.block_begin);
  };
  std::sort(pieces.begin(), pieces.end(), [&](const Piece& a, const Piece& b) {
    return std::tuple(-cost_of(a), a.tile, a.block_begin) <
           std::tuple(-cost_of(b), b.tile, b.block_begin);
  });
}

}  // namespace edgewise::kernels
