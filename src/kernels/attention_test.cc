#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "kernels/ops.h"
#include "kernels/test_support.h"

namespace edgewise::kernels {
namespace {

using testing::random_floats;

constexpr KvType kTypes[] = {KvType::kF16, KvType::kQ8};

// The Walsh-Hadamard transform of each `x.size() & -x.size()` values.
template <typename T>
void transform(std::vector<T>& x) {
  const std::size_t size = x.size() & -x.size();
  for (std::size_t stride = 1; stride < size; stride *= 2) {
    for (std::size_t i = 0; i < x.size(); ++i) {
      if ((i & stride) == 0) {
        const T a = x[i];
        const T b = x[i + stride];
        x[i] = a + b;
        x[i + stride] = a - b;
      }
    }
  }
}

std::vector<double> through_codes(const std::vector<float>& values) {
  float most = 0.0F;
  for (const float x : values) {
    most = std::max(most, std::abs(x));
  }
  std::vector<double> out;
  for (const float x : values) {
    out.push_back(static_cast<double>(std::nearbyint(x * (127.0F / most))) *
                  static_cast<double>(most / 127.0F));
  }
  return out;
}

// What a head's key or value is worth once it is stored: the definition in plain words.
std::vector<double> as_stored(KvType type, bool is_key, std::vector<float> values) {
  if (type == KvType::kF16) {
    std::vector<double> out;
    for (const float x : values) {
      out.push_back(static_cast<double>(tensor::f16_to_f32(tensor::f32_to_f16(x))));
    }
    return out;
  }
  if (!is_key) {
    return through_codes(values);
  }
  transform(values);
  std::vector<double> out = through_codes(values);
  transform(out);
  for (double& x : out) {
    x /= static_cast<double>(out.size() & -out.size());
  }
  return out;
}

struct Scene {
  AttentionShape shape;
  std::int64_t length;
  KvType type;
  std::vector<float> q, k, v;
  std::vector<std::byte> cache;
  std::vector<KvBlock> blocks;

  Scene(AttentionShape s, std::int64_t n, KvType t = KvType::kF16, float query_spread = 1.0F)
      : shape(s), length(n), type(t) {
    q = random_floats(n * s.heads * s.head_dim, 1, query_spread);
    k = random_floats(n * s.kv_heads * s.head_dim, 2);
    v = random_floats(n * s.kv_heads * s.value_dim, 3);
    const std::int64_t count = (n + kKeyBlock - 1) / kKeyBlock;
    const std::int64_t positions = s.kv_heads * kKeyBlock;
    const std::int64_t element = t == KvType::kF16 ? 2 : 1;
    const std::int64_t bytes = positions * kv_head_bytes(t, s.head_dim, s.value_dim);
    cache.resize(static_cast<std::size_t>(count * bytes));
    for (std::int64_t b = 0; b < count; ++b) {
      std::byte* keys = cache.data() + b * bytes;
      std::byte* values = keys + positions * s.head_dim * element;
      auto* scales = reinterpret_cast<float*>(values + positions * s.value_dim * element);
      blocks.push_back({t, keys, values, t == KvType::kF16 ? nullptr : scales,
                        t == KvType::kF16 ? nullptr : scales + positions});
    }
  }

  void fill(const KernelTable& table) {
    std::vector<float> keys = k;
    for (std::int64_t t = 0; t < length; ++t) {
      table.store_kv(shape, keys.data() + t * shape.kv_heads * shape.head_dim,
                     v.data() + t * shape.kv_heads * shape.value_dim,
                     blocks[static_cast<std::size_t>(t / kKeyBlock)], t % kKeyBlock);
    }
  }

  // In chunks of so many tokens: one call each, or all in one call.
  std::vector<float> attend(Ops& ops, std::int64_t chunk, bool together = false) const {
    const std::int64_t stride = shape.heads * shape.head_dim;
    const std::int64_t out_stride = shape.heads * shape.value_dim;
    std::vector<float> out(static_cast<std::size_t>(length * out_stride));
    std::vector<AttentionSegment> segments;
    for (std::int64_t t = 0; t < length; t += chunk) {
      AttentionSegment segment;
      segment.q = q.data() + t * stride;
      segment.out = out.data() + t * out_stride;
      segment.tokens = std::min(chunk, length - t);
      segment.first_position = t;
      segment.kv_length = shape.causal ? t + segment.tokens : length;
      segment.blocks = blocks;
      segments.push_back(segment);
      if (!together || t + chunk >= length) {
        ops.attention(shape, segments, stride, out_stride);
        segments.clear();
      }
    }
    return out;
  }

  // Each head's vectors of `from`, as stored: [length * kv_heads][dim].
  std::vector<std::vector<double>> stored(const std::vector<float>& from,
                                          std::int64_t dim,
                                          bool is_key) const {
    std::vector<std::vector<double>> heads;
    for (std::int64_t i = 0; i < length * shape.kv_heads; ++i) {
      heads.push_back(
          as_stored(type, is_key, {from.data() + i * dim, from.data() + (i + 1) * dim}));
    }
    return heads;
  }

  // Plain attention in doubles over the stored keys and values.
  std::vector<double> expected() const {
    std::vector<double> out;
    const std::int64_t group = shape.heads / shape.kv_heads;
    const auto keys = stored(k, shape.head_dim, true);
    const auto values = stored(v, shape.value_dim, false);
    for (std::int64_t t = 0; t < length; ++t) {
      for (std::int64_t h = 0; h < shape.heads; ++h) {
        std::vector<double> weights(static_cast<std::size_t>(length), 0.0);
        double total = 0;
        for (std::int64_t s = 0; s < length; ++s) {
          if ((shape.causal && s > t) || (shape.window > 0 && s <= t - shape.window)) {
            continue;
          }
          double score = 0;
          for (std::int64_t d = 0; d < shape.head_dim; ++d) {
            score += static_cast<double>(
                         q[static_cast<std::size_t>((t * shape.heads + h) * shape.head_dim + d)]) *
                     keys[static_cast<std::size_t>(s * shape.kv_heads + h / group)]
                         [static_cast<std::size_t>(d)];
          }
          score *= shape.scale;
          if (shape.softcap > 0) {
            score = shape.softcap * std::tanh(score / shape.softcap);
          }
          total += weights[static_cast<std::size_t>(s)] = std::exp(score);
        }
        for (std::int64_t d = 0; d < shape.value_dim; ++d) {
          double o = 0;
          for (std::int64_t s = 0; s < length; ++s) {
            o += weights[static_cast<std::size_t>(s)] / total *
                 values[static_cast<std::size_t>(s * shape.kv_heads + h / group)]
                       [static_cast<std::size_t>(d)];
          }
          out.push_back(o);
        }
      }
    }
    return out;
  }
};

std::vector<Scene> scenes(KvType type) {
  std::vector<Scene> out;
  const auto add = [&](std::int64_t heads, std::int64_t kv, std::int64_t d, std::int64_t dv,
                       float cap, std::int64_t window, bool causal, std::int64_t n) {
    out.emplace_back(AttentionShape{heads, kv, d, dv, 1.0F / std::sqrt(static_cast<float>(d)), cap,
                                    window, causal},
                     n, type);
  };
  add(9, 3, 64, 64, 0, 0, true, 300);
  add(4, 1, 256, 256, 0, 70, true, 200);
  add(8, 2, 96, 80, 30, 0, true, 131);
  add(2, 2, 32, 32, 0, 0, false, 77);
  add(12, 2, 128, 128, 0, 0, true, 1);
  add(3, 1, 16, 48, 0, 5, true, 400);
  add(4, 2, 32, 16, 20, 0, false, 130);
  add(kAttentionTileRows, 1, 16, 16, 0, 0, true, 70);
  add(13, 1, 32, 32, 0, 64, true, 200);
  for (const std::int64_t n : {63, 64, 65, 127, 128, 129}) {
    add(2, 1, 16, 16, 0, 0, true, n);
  }
  add(2, 1, 32, 32, 0, 40, true, 100);
  out.back().shape.scale = -0.2F;  // what is masked must stay so
  return out;
}

double longest_row(const std::vector<float>& rows, std::int64_t width) {
  double longest = 0.0;
  for (std::size_t at = 0; at < rows.size(); at += static_cast<std::size_t>(width)) {
    double squares = 0.0;
    for (std::size_t i = 0; i < static_cast<std::size_t>(width); ++i) {
      squares += static_cast<double>(rows[at + i]) * static_cast<double>(rows[at + i]);
    }
    longest = std::max(longest, std::sqrt(squares));
  }
  return longest;
}

// What rounding may do. Each of the D steps of a score, its scale, the difference to the maximum and its own
// rounding err by an epsilon of |q| |k| at most; an error of a score is the same relative error of its weight; the
// exponential adds its own 3 epsilons; so do the 64 keys of a block and the merges. A relative error of the weights
// moves the mean of the values by twice that of the largest.
double rounding_bound(const Scene& scene) {
  const double epsilon = 0x1p-24;
  const double score = std::abs(static_cast<double>(scene.shape.scale)) *
                       longest_row(scene.q, scene.shape.head_dim) *
                       longest_row(scene.k, scene.shape.head_dim);
  const auto depth = static_cast<double>(scene.shape.head_dim);
  const auto merges = static_cast<double>(scene.blocks.size());
  const double largest =
      std::abs(*std::ranges::max_element(scene.v, {}, [](float x) { return std::abs(x); }));
  return 2.0 * largest * epsilon * ((depth + 4.0) * score + 3.0 + 64.0 + 4.0 * merges);
}

class Attention : public ::testing::TestWithParam<KvType> {};

INSTANTIATE_TEST_SUITE_P(Types, Attention, ::testing::ValuesIn(kTypes), [](const auto& tested) {
  return std::string(kv_type_name(tested.param));
});

TEST_P(Attention, ErrsWithLargeScoresNoMoreThanTheirRoundingAllows) {
  for (const float spread : {1.0F, 8.0F, 64.0F}) {
    Scene scene(
        AttentionShape{.heads = 6, .kv_heads = 2, .head_dim = 64, .value_dim = 64, .scale = 0.125F},
        200, GetParam(), spread);
    platform::WorkerPool pool(1);
    Ops ops(pool, *supported_tables().front());
    scene.fill(ops.kernels());
    const std::vector<float> out = scene.attend(ops, scene.length);
    const std::vector<double> expected = scene.expected();
    const double bound = rounding_bound(scene);
    EXPECT_LT(bound, 6e-4 * static_cast<double>(spread));  // tight enough to find a mistake
    for (std::size_t i = 0; i < out.size(); ++i) {
      ASSERT_NEAR(out[i], expected[i], bound) << i;
    }
  }
}

TEST_P(Attention, EqualsThePlainFormulaWithinRounding) {
  for (Scene& scene : scenes(GetParam())) {
    platform::WorkerPool pool(1);
    Ops ops(pool, *supported_tables().front());
    scene.fill(ops.kernels());
    const std::vector<float> out = scene.attend(ops, scene.length);
    const std::vector<double> expected = scene.expected();
    for (std::size_t i = 0; i < out.size(); ++i) {
      ASSERT_NEAR(out[i], expected[i], 2e-5) << i;
    }
  }
}

struct Cut {
  int threads;
  std::int64_t chunk;
  bool together;
};

// All chunks on two threads; on others, which under emulation take minutes, the whole and short ones.
std::vector<Cut> cuts(const Scene& scene) {
  const std::int64_t whole = scene.length;
  if (!scene.shape.causal) {
    return {{1, whole, true}, {2, whole, false}, {5, whole, true}};
  }
  std::vector<Cut> all;
  for (const std::int64_t chunk : {whole, std::int64_t{1}, std::int64_t{7}, std::int64_t{50}}) {
    all.push_back({2, chunk, false});
    all.push_back({2, chunk, true});
  }
  for (const int threads : {1, 5}) {
    all.push_back({threads, whole, false});
    all.push_back({threads, 7, true});
  }
  return all;
}

// It is slow: its whole on one thread against one other cut is enough.
std::vector<Cut> cuts_of_reference(const Scene& scene) {
  return {{2, scene.shape.causal ? 50 : scene.length, true}};
}

TEST_P(Attention, SameBitsForEveryInstructionSetThreadCountAndChunk) {
  for (Scene& scene : scenes(GetParam())) {
    platform::WorkerPool one(1);
    Ops reference(one, *supported_tables().front());
    scene.fill(reference.kernels());
    const std::vector<float> expected = scene.attend(reference, scene.length);
    for (const KernelTable* table : supported_tables()) {
      const std::vector<std::byte> stored = scene.cache;
      scene.fill(*table);
      ASSERT_EQ(stored, scene.cache) << table->name;
      for (const Cut& cut :
           table == &reference.kernels() ? cuts_of_reference(scene) : cuts(scene)) {
        platform::WorkerPool pool(cut.threads);
        Ops ops(pool, *table);
        const std::vector<float> out = scene.attend(ops, cut.chunk, cut.together);
        ASSERT_EQ(0, std::memcmp(out.data(), expected.data(), out.size() * 4))
            << table->name << " " << cut.threads << " threads, chunk " << cut.chunk;
      }
    }
  }
}

// A key that is not a number spoils the rows that see it and no others, whatever ran beside them.
TEST_P(Attention, WhatIsMaskedIsNotThere) {
  const AttentionShape shape{
      .heads = 3, .kv_heads = 1, .head_dim = 32, .value_dim = 32, .scale = 0.2F, .window = 50};
  constexpr std::int64_t kBad = 70;
  const auto width = static_cast<std::size_t>(shape.heads * shape.value_dim);
  for (const KernelTable* table : supported_tables()) {
    platform::WorkerPool pool(2);
    Ops ops(pool, *table);
    Scene scene(shape, 200, GetParam());
    scene.fill(*table);
    const std::vector<float> clean = scene.attend(ops, scene.length);
    std::fill_n(scene.k.begin() + kBad * shape.head_dim, shape.head_dim,
                std::numeric_limits<float>::quiet_NaN());
    scene.fill(*table);
    for (const std::int64_t chunk : {scene.length, std::int64_t{1}, std::int64_t{7}}) {
      const std::vector<float> out = scene.attend(ops, chunk);
      for (std::int64_t t = 0; t < scene.length; ++t) {
        const std::size_t at = static_cast<std::size_t>(t) * width;
        if (t >= kBad && t < kBad + shape.window) {
          ASSERT_TRUE(std::all_of(out.begin() + static_cast<std::ptrdiff_t>(at),
                                  out.begin() + static_cast<std::ptrdiff_t>(at + width),
                                  [](float x) { return std::isnan(x); }))
              << table->name << " token " << t;
        } else {
          // NOLINTNEXTLINE(bugprone-suspicious-memory-comparison): the same bits
          ASSERT_EQ(0, std::memcmp(out.data() + at, clean.data() + at, width * 4))
              << table->name << " token " << t;
        }
      }
    }
  }
}

// Codes are the nearest that their scale allows, whatever the values; what is not finite has no scale.
TEST(EightBitStore, KeepsEveryValueWithinHalfAStep) {
  const AttentionShape shape{.heads = 1, .kv_heads = 1, .head_dim = 32, .value_dim = 48};
  const float large = 1e36F;
  for (const KernelTable* table : supported_tables()) {
    for (const float spread : {0.0F, 1e-20F, 1e-3F, 1.0F, 1e4F, large}) {
      Scene scene(shape, 3, KvType::kQ8);
      scene.k = random_floats(3 * shape.head_dim, 1, spread);
      scene.v = random_floats(3 * shape.value_dim, 2, spread);
      scene.v[shape.value_dim] = 100.0F * spread;  // an outlier in the second
      scene.fill(*table);
      const KvBlock& block = scene.blocks[0];
      for (std::int64_t t = 0; t < 3; ++t) {
        const auto check = [&](double value, std::int8_t code, float scale) {
          ASSERT_GE(code, -127);
          ASSERT_NEAR(static_cast<double>(code) * static_cast<double>(scale), value,
                      0.50001 * static_cast<double>(scale))
              << table->name << " spread " << spread;
        };
        std::vector<double> key(scene.k.begin() + t * shape.head_dim,
                                scene.k.begin() + (t + 1) * shape.head_dim);
        transform(key);
        for (std::int64_t d = 0; d < shape.head_dim; ++d) {
          check(key[static_cast<std::size_t>(d)], block.k_codes()[d * 16 + t], block.k_scales[t]);
        }
        for (std::int64_t d = 0; d < shape.value_dim; ++d) {
          check(scene.v[static_cast<std::size_t>(t * shape.value_dim + d)],
                block.v_codes()[t * shape.value_dim + d], block.v_scales[t]);
        }
      }
    }
  }
}

TEST(EightBitStore, SaysWhatIsNotFinite) {
  const AttentionShape shape{.heads = 1, .kv_heads = 1, .head_dim = 32, .value_dim = 48};
  for (const float bad :
       {std::numeric_limits<float>::infinity(), -std::numeric_limits<float>::infinity(),
        std::numeric_limits<float>::quiet_NaN()}) {
    std::vector<std::byte> first;
    for (const KernelTable* table : supported_tables()) {
      Scene scene(shape, 2, KvType::kQ8);
      scene.k[17] = bad;                                              // of the first position
      scene.v[static_cast<std::size_t>(shape.value_dim) + 40] = bad;  // of the second
      scene.fill(*table);
      const KvBlock& block = scene.blocks[0];
      EXPECT_TRUE(std::isnan(block.k_scales[0]) && std::isnan(block.v_scales[1])) << table->name;
      EXPECT_TRUE(std::isfinite(block.k_scales[1]) && std::isfinite(block.v_scales[0]));
      first = first.empty() ? scene.cache : first;
      EXPECT_EQ(scene.cache, first) << table->name;
    }
  }
}

}  // namespace
}  // namespace edgewise::kernels
