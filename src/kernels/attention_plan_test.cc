#include "kernels/attention_plan.h"

#include <gtest/gtest.h>
#include <rapidcheck.h>
#include <rapidcheck/gtest.h>

#include <algorithm>
#include <map>
#include <numeric>

namespace edgewise::kernels {
namespace {

using Plan = AttentionPlan;

std::int64_t number(std::int64_t least, std::int64_t most) {
  return *rc::gen::inRange<std::int64_t>(least, most + 1);
}

AttentionSegment tokens_at(std::int64_t first_position, std::int64_t tokens) {
  AttentionSegment segment;
  segment.tokens = tokens;
  segment.first_position = first_position;
  segment.kv_length = first_position + tokens;
  return segment;
}

AttentionShape any_shape() {
  AttentionShape shape;
  shape.kv_heads = number(1, 4);
  shape.heads = shape.kv_heads * number(1, kAttentionTileRows);
  shape.head_dim = shape.value_dim = 16;
  shape.window = number(0, 1) == 0 ? 0 : number(1, 300);
  shape.causal = number(0, 3) != 0;
  return shape;
}

std::vector<AttentionSegment> any_segments() {
  std::vector<AttentionSegment> segments(static_cast<std::size_t>(number(0, 5)));
  for (AttentionSegment& segment : segments) {
    segment = tokens_at(number(0, 2000), number(0, 2) == 0 ? 1 : number(1, 300));
  }
  return segments;
}

std::int64_t rows_of(const AttentionShape& shape, const Plan::Tile& tile) {
  return (tile.token_end - tile.token_begin) * shape.heads / shape.kv_heads;
}

std::int64_t cost_of(const AttentionShape& shape, const Plan& plan, const Plan::Piece& piece) {
  return rows_of(shape, plan.tiles[static_cast<std::size_t>(piece.tile)]) *
         (piece.block_end - piece.block_begin);
}

// Each token of each head is in one tile, whose blocks are those that its tokens see.
void tiles_cover_every_token_once(const AttentionShape& shape,
                                  std::span<const AttentionSegment> segments,
                                  const Plan& plan) {
  std::map<std::tuple<std::int64_t, std::int64_t, std::int64_t>, int> seen;
  for (const Plan::Tile& tile : plan.tiles) {
    const AttentionSegment& segment = segments[static_cast<std::size_t>(tile.segment)];
    RC_ASSERT(rows_of(shape, tile) <= kAttentionTileRows);
    std::int64_t lowest = segment.kv_length;
    std::int64_t highest = 0;
    for (std::int64_t token = tile.token_begin; token < tile.token_end; ++token) {
      ++seen[{tile.segment, tile.kv_head, token}];
      const std::int64_t position = segment.first_position + token;
      lowest = std::min(
          lowest, shape.window > 0 ? std::max<std::int64_t>(0, position - shape.window + 1) : 0);
      highest = std::max(highest, shape.causal ? position : segment.kv_length - 1);
    }
    RC_ASSERT(tile.block_begin == lowest / kKeyBlock);
    RC_ASSERT(tile.block_end == highest / kKeyBlock + 1);
  }
  std::int64_t tokens = 0;
  for (const AttentionSegment& segment : segments) {
    tokens += segment.tokens;
  }
  RC_ASSERT(std::ssize(seen) == tokens * shape.kv_heads);
  RC_ASSERT(std::ranges::all_of(seen, [](const auto& entry) { return entry.second == 1; }));
}

// The pieces of a tile are its blocks, each once; the count that decides who merges is their number.
void pieces_cover_every_block_once(const Plan& plan) {
  std::vector<std::vector<Plan::Piece>> of_tile(plan.tiles.size());
  for (const Plan::Piece& piece : plan.pieces) {
    RC_ASSERT(piece.block_begin < piece.block_end);
    of_tile[static_cast<std::size_t>(piece.tile)].push_back(piece);
  }
  for (std::size_t t = 0; t < plan.tiles.size(); ++t) {
    std::ranges::sort(of_tile[t], {}, &Plan::Piece::block_begin);
    std::int64_t next = plan.tiles[t].block_begin;
    for (const Plan::Piece& piece : of_tile[t]) {
      RC_ASSERT(piece.block_begin == next);
      next = piece.block_end;
    }
    RC_ASSERT(next == plan.tiles[t].block_end);
    RC_ASSERT(plan.tiles[t].unfinished == std::ssize(of_tile[t]));
    RC_ASSERT((plan.tiles[t].partials >= 0) == (of_tile[t].size() > 1));
  }
}

void partial_results_never_overlap(const AttentionShape& shape, const Plan& plan) {
  std::int64_t next = 0;
  for (const Plan::Tile& tile : plan.tiles) {  // in the order in which they were given their place
    if (tile.partials >= 0) {
      RC_ASSERT(tile.partials == next);
      next += tile.blocks() * attention_partial_floats(rows_of(shape, tile), shape.value_dim);
    }
  }
  RC_ASSERT(plan.partial_floats == next);
}

RC_GTEST_PROP(AttentionPlan, CoversAllWorkExactlyOnce, ()) {
  Plan plan;
  for (int use = 0; use < 2; ++use) {  // the second time with the memory of the first
    const AttentionShape shape = any_shape();
    const std::vector<AttentionSegment> segments = any_segments();
    plan.assign(shape, segments, static_cast<int>(number(1, 9)));
    tiles_cover_every_token_once(shape, segments, plan);
    pieces_cover_every_block_once(plan);
    partial_results_never_overlap(shape, plan);
    RC_ASSERT(std::ranges::is_sorted(plan.pieces, std::greater{}, [&](const Plan::Piece& piece) {
      return cost_of(shape, plan, piece);
    }));
  }
}

// The busiest worker's share, relative to an equal one, when the pieces are taken as WorkerPool::parallel_for has them
// taken: an equal number each, ascending, and then those of others, from their end.
double imbalance(const AttentionShape& shape, const Plan& plan, std::int64_t workers) {
  struct Worker {
    std::int64_t busy = 0;
    std::int64_t begin = 0, end = 0;
  };

  const std::int64_t pieces = std::ssize(plan.pieces);
  std::vector<Worker> team(static_cast<std::size_t>(workers));
  for (std::int64_t w = 0; w < workers; ++w) {
    team[static_cast<std::size_t>(w)] = {0, w * pieces / workers, (w + 1) * pieces / workers};
  }
  std::int64_t total = 0;
  for (std::int64_t done = 0; done < pieces; ++done) {
    const auto next = std::ranges::min_element(team, {}, &Worker::busy);
    std::int64_t taken = -1;
    for (std::int64_t other = 0; taken < 0; ++other) {
      Worker& from = team[static_cast<std::size_t>((next - team.begin() + other) % workers)];
      if (from.begin < from.end) {
        taken = other == 0 ? from.begin++ : --from.end;
      }
    }
    const std::int64_t cost = cost_of(shape, plan, plan.pieces[static_cast<std::size_t>(taken)]);
    next->busy += cost;
    total += cost;
  }
  const std::int64_t busiest = std::ranges::max_element(team, {}, &Worker::busy)->busy;
  return static_cast<double>(busiest * workers) / static_cast<double>(total);
}

TEST(AttentionPlan, GivesEveryWorkerNearlyTheSame) {
  const std::vector<AttentionShape> shapes = {
      {.heads = 9, .kv_heads = 3, .head_dim = 64, .value_dim = 64},     // SmolLM2-135M
      {.heads = 12, .kv_heads = 2, .head_dim = 128, .value_dim = 128},  // Qwen2.5 1.5B
      {.heads = 4, .kv_heads = 1, .head_dim = 256, .value_dim = 256}};  // Gemma 3 270M
  for (const AttentionShape& shape : shapes) {
    for (const std::int64_t tokens : {1, 8, 64, 512}) {
      for (const int workers : {2, 4, 8}) {
        for (const std::int64_t first : {std::int64_t{0}, 4096 - tokens}) {
          const AttentionSegment segment = tokens_at(first, tokens);
          Plan plan;
          plan.assign(shape, {&segment, 1}, workers);
          if (std::ssize(plan.pieces) / 2 >= workers) {  // else there is too little to do
            EXPECT_LE(imbalance(shape, plan, workers), 1.25)
                << shape.heads << " heads, " << tokens << " tokens at " << first << ", " << workers
                << " workers, " << plan.pieces.size() << " pieces";
          } else {
            EXPECT_EQ(first, 0);
          }
        }
      }
    }
  }
}

TEST(AttentionPlan, OneWorkerNeedsNoPartialResults) {
  const AttentionShape shape{.heads = 9, .kv_heads = 3, .head_dim = 64, .value_dim = 64};
  const AttentionSegment segment = tokens_at(4095, 1);
  Plan plan;
  plan.assign(shape, {&segment, 1}, 1);
  EXPECT_EQ(plan.pieces.size(), 3U);
  EXPECT_EQ(plan.partial_floats, 0);
}

}  // namespace
}  // namespace edgewise::kernels
