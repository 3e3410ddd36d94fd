#include "cache/kv_cache.h"

#include <gtest/gtest.h>
#include <rapidcheck.h>
#include <rapidcheck/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <map>

namespace edgewise::cache {
namespace {

using kernels::KvType;

constexpr KvType kTypes[] = {KvType::kF16, KvType::kQ8};
const std::vector<KvLayerShape> kLayers{{2, 16, 32}, {1, 32, 16}};

using Bytes = std::span<std::uint8_t>;

// All that one block holds, layer by layer: keys, values, and where there are scales theirs.
std::vector<Bytes> parts(const KvCache& cache, BlockId block) {
  std::vector<Bytes> out;
  const auto add = [&](void* part, std::int64_t bytes) {
    out.emplace_back(static_cast<std::uint8_t*>(part), static_cast<std::size_t>(bytes));
  };
  for (std::size_t l = 0; l < kLayers.size(); ++l) {
    const kernels::KvBlock view = cache.view(static_cast<std::int64_t>(l), block);
    const std::int64_t positions = kLayers[l].kv_heads * kernels::kKeyBlock;
    const bool is_wide = view.type == KvType::kF16;
    add(view.k, positions * kLayers[l].head_dim * (is_wide ? 2 : 1));
    add(view.v, positions * kLayers[l].value_dim * (is_wide ? 2 : 1));
    if (!is_wide) {
      add(view.k_scales, positions * 4);
      add(view.v_scales, positions * 4);
    }
  }
  return out;
}

void fill(const KvCache& cache, BlockId block, std::uint8_t value) {
  for (const Bytes part : parts(cache, block)) {
    std::ranges::fill(part, value);
  }
}

bool holds(const KvCache& cache, BlockId block, std::uint8_t value) {
  return std::ranges::all_of(parts(cache, block), [&](Bytes part) {
    return std::ranges::all_of(part, [&](std::uint8_t x) { return x == value; });
  });
}

// What the cache promises, as a map from block to its count and the value its bytes were last filled with.
struct Toy {
  struct Block {
    std::int32_t references = 0;
    std::uint8_t value = 0;
  };

  std::map<BlockId, Block> used;
};

BlockId pick(const Toy& toy) {
  std::vector<BlockId> ids;
  for (const auto& [id, block] : toy.used) {
    ids.push_back(id);
  }
  return *rc::gen::elementOf(ids);
}

void agree(const KvCache& cache, const Toy& toy) {
  RC_ASSERT(cache.free_blocks() == cache.capacity() - std::ssize(toy.used));
  for (const auto& [id, block] : toy.used) {
    RC_ASSERT(cache.references(id) == block.references);
    RC_ASSERT(holds(cache, id, block.value));
  }
}

void take(KvCache& cache, Toy& toy) {
  const auto block = cache.allocate();
  RC_ASSERT(block.has_value() == (std::ssize(toy.used) < cache.capacity()));
  if (block) {
    RC_ASSERT(!toy.used.contains(*block));
    toy.used[*block] = {1, 0};
  }
}

void drop(KvCache& cache, Toy& toy) {
  const BlockId id = pick(toy);
  cache.release(id);
  if (--toy.used[id].references == 0) {
    toy.used.erase(id);
  }
}

void duplicate(KvCache& cache, Toy& toy) {
  const BlockId from = pick(toy);
  const BlockId to = pick(toy);
  if (from != to && toy.used[to].references == 1) {
    cache.copy(from, to);
    toy.used[to].value = toy.used[from].value;
  }
}

RC_GTEST_PROP(KvCache, BehavesAsATableOfCountedBlocks, ()) {
  auto created = KvCache::create(kLayers, *rc::gen::inRange<std::int64_t>(1, 7),
                                 *rc::gen::element(KvType::kF16, KvType::kQ8));
  RC_ASSERT(created.has_value());
  KvCache& cache = **created;
  Toy toy;
  const auto steps = *rc::gen::container<std::vector<int>>(rc::gen::inRange(0, 5));
  for (const int step : steps) {
    if (step == 0 || toy.used.empty()) {
      take(cache, toy);
    } else if (step == 1) {
      drop(cache, toy);
    } else if (step == 2) {
      const BlockId id = pick(toy);
      cache.retain(id);
      ++toy.used[id].references;
    } else if (step == 3) {
      const BlockId id = pick(toy);
      toy.used[id].value = *rc::gen::inRange<std::uint8_t>(1, 0xFF);
      fill(cache, id, toy.used[id].value);
    } else {
      duplicate(cache, toy);
    }
    agree(cache, toy);
  }
}

class KvCacheOf : public ::testing::TestWithParam<KvType> {};

TEST_P(KvCacheOf, LayersAndPartsNeverOverlap) {
  auto cache = KvCache::create(kLayers, 3, GetParam()).value();
  EXPECT_EQ(cache->type(), GetParam());
  std::vector<std::pair<std::uint8_t*, std::uint8_t*>> ranges;
  for (int i = 0; i < 3; ++i) {
    for (const Bytes part : parts(*cache, cache->allocate().value())) {
      ranges.emplace_back(part.data(), part.data() + part.size());
    }
  }
  std::ranges::sort(ranges);
  std::int64_t bytes = 0;
  for (std::size_t i = 0; i < ranges.size(); ++i) {
    bytes += ranges[i].second - ranges[i].first;
    if (i > 0) {
      EXPECT_LE(ranges[i - 1].second, ranges[i].first);
    }
  }
  EXPECT_EQ(bytes, 3 * KvCache::block_bytes(kLayers, GetParam()));
}

TEST_P(KvCacheOf, ABlockIsOnePieceOfMemoryInLayerOrder) {
  auto cache = KvCache::create(kLayers, 2, GetParam()).value();
  for (int i = 0; i < 2; ++i) {
    const auto block = parts(*cache, cache->allocate().value());
    for (std::size_t p = 1; p < block.size(); ++p) {
      EXPECT_EQ(block[p - 1].data() + block[p - 1].size(), block[p].data());
    }
    EXPECT_EQ(reinterpret_cast<std::uintptr_t>(block.front().data()) % 64, 0U);  // a cache line
  }
}

INSTANTIATE_TEST_SUITE_P(Types, KvCacheOf, ::testing::ValuesIn(kTypes), [](const auto& tested) {
  return std::string(kernels::kv_type_name(tested.param));
});

TEST(KvCache, EightBitsAndAScaleForEachPositionAndHead) {
  EXPECT_EQ(KvCache::block_bytes(kLayers, KvType::kF16), 64 * 2 * (2 * (16 + 32) + 1 * (32 + 16)));
  EXPECT_EQ(KvCache::block_bytes(kLayers, KvType::kQ8), 64 * (2 * (16 + 32 + 8) + 32 + 16 + 8));
}

TEST(KvCache, AHugeReservationCostsNothingUntilItIsWritten) {
  const std::vector<KvLayerShape> layers(32, KvLayerShape{8, 128, 128});
  auto cache = KvCache::create(layers, 1 << 14);  // 128 GiB of address space
  ASSERT_TRUE(cache.has_value()) << cache.error().message;
  const BlockId block = (*cache)->allocate().value();
  EXPECT_EQ((*cache)->view(31, block).k_halves()[0], 0);
}

TEST(KvCache, RefusesShapesThatMakeNoSense) {
  EXPECT_FALSE(KvCache::create({}, 1).has_value());
  EXPECT_FALSE(KvCache::create({{1, 16, 16}}, 0).has_value());
  EXPECT_FALSE(KvCache::create({{0, 16, 16}}, 1).has_value());
  EXPECT_FALSE(KvCache::create({{1, 1 << 20, 16}}, 1).has_value());
  const std::vector<KvLayerShape> huge(1000, KvLayerShape{1 << 16, 1 << 16, 1 << 16});
  EXPECT_EQ(KvCache::create(huge, 1 << 30).error().code, ErrorCode::kResourceExhausted);
}

TEST(KvCache, APageIsABlockThatLiesInItsFile) {
  auto cache = KvCache::create(kLayers, 2).value();
  const auto bytes = static_cast<std::size_t>(KvCache::block_bytes(kLayers));
  std::string name = (std::filesystem::temp_directory_path() / "edgewise-page-XXXXXX").string();
  ::close(::mkstemp(name.data()));
  std::ofstream(name, std::ios::binary) << std::string(64, 'h') << std::string(bytes, 'x');
  const BlockId page = cache->adopt(Page(platform::MappedFile::open(name).value(), 64)).value();
  std::filesystem::remove(name);
  EXPECT_EQ(cache->mapped_blocks(), 1);
  EXPECT_EQ(cache->free_blocks(), 1);
  EXPECT_TRUE(holds(*cache, page, 'x'));
  const BlockId own = cache->allocate().value();
  EXPECT_FALSE(cache->allocate().has_value()) << "a page takes a place";
  cache->copy(page, own);
  fill(*cache, own, 7);
  EXPECT_TRUE(holds(*cache, page, 'x'));
  cache->release(page);
  EXPECT_EQ(cache->mapped_blocks(), 0);
  EXPECT_TRUE(holds(*cache, cache->allocate().value(), 0)) << "the place's own memory is untouched";
}

TEST(KvCacheDeathTest, AFreeBlockMayNotBeUsed) {
  auto cache = KvCache::create(kLayers, 1).value();
  const BlockId block = cache->allocate().value();
  cache->release(block);
  EXPECT_DEATH(cache->release(block), "is free");
  EXPECT_DEATH(cache->view(0, block), "is free");
}

}  // namespace
}  // namespace edgewise::cache
