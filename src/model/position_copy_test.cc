// The first layer's keys depend on nothing but token and position: there, a key that was turned to a new position must be the one
// that is computed at it. This holds for every kind of rope; deeper layers go through the same code.
#include "model/position_copy.h"

#include <gtest/gtest.h>

#include <cstring>
#include <tuple>

#include "model/test_support.h"
#include "tensor/dtype.h"

namespace edgewise::model {
namespace {

using kernels::kKeyBlock;
using kernels::KvBlock;
using kernels::KvType;
using testing::Logits;
using testing::Runner;

using Blocks = std::vector<cache::BlockId>;

// One position's keys and values of one layer, as stored; 8-bit ones times their scales.
struct Stored {
  std::vector<float> key;
  std::vector<float> value;

  bool operator==(const Stored&) const = default;
};

Stored stored(Runner& runner, std::int64_t layer, const Blocks& blocks, std::int64_t position) {
  const ModelSpec& spec = runner.model().spec();
  const KvBlock view =
      runner.cache().view(layer, blocks[static_cast<std::size_t>(position / kKeyBlock)]);
  const std::int64_t slot = position % kKeyBlock;
  Stored result;
  for (std::int64_t h = 0; h < spec.layers[static_cast<std::size_t>(layer)].kv_heads; ++h) {
    for (std::int64_t d = 0; d < spec.head_dim; ++d) {
      const std::int64_t at = ((h * 4 + slot / 16) * spec.head_dim + d) * 16 + slot % 16;
      result.key.push_back(view.type == KvType::kF16
                               ? tensor::f16_to_f32(view.k_halves()[at])
                               : view.k_codes()[at] * view.k_scales[h * kKeyBlock + slot]);
    }
    for (std::int64_t d = 0; d < spec.value_dim; ++d) {
      const std::int64_t at = (h * kKeyBlock + slot) * spec.value_dim + d;
      result.value.push_back(view.type == KvType::kF16
                                 ? tensor::f16_to_f32(view.v_halves()[at])
                                 : view.v_codes()[at] * view.v_scales[h * kKeyBlock + slot]);
    }
  }
  return result;
}

double distance(const std::vector<float>& expected, const std::vector<float>& actual) {
  return testing::relative_error({expected}, {actual});
}

class PositionCopies : public ::testing::TestWithParam<std::tuple<std::string, KvType>> {
 protected:
  static constexpr std::int64_t kFrom = 10;
  static constexpr std::int64_t kCount = 130;

  std::filesystem::path path() const { return testing::tiny_model(std::get<0>(GetParam())); }

  KvType kv_type() const { return std::get<1>(GetParam()); }

  Runner runner(int threads = 2, const kernels::KernelTable* table = nullptr) const {
    return Runner(path(), {.threads = threads, .kv_type = kv_type(), .table = table});
  }

  // The blocks of `tokens` after `before` other ones.
  Blocks computed(Runner& runner, std::int64_t before = 0) const {
    std::vector<TokenId> all = testing::random_tokens(64, static_cast<std::size_t>(before), 99);
    all.insert(all.end(), tokens.begin(), tokens.end());
    const Blocks blocks = runner.blocks(all.size());
    runner.forward({{all, 0, blocks, Want::kNothing}});
    return blocks;
  }

  Blocks copied(Runner& runner, const Blocks& source, std::int64_t shift) const {
    const Blocks blocks = runner.blocks(static_cast<std::size_t>(kFrom + kCount + shift));
    runner.model().copy_positions(
        {.source = source, .from = kFrom, .blocks = blocks, .to = kFrom + shift, .count = kCount},
        runner.cache());
    return blocks;
  }

  std::int64_t layers(Runner& runner) const { return std::ssize(runner.model().spec().layers); }

  std::vector<TokenId> tokens = testing::random_tokens(64, 150, 7);
};

TEST_P(PositionCopies, KeysOfTheFirstLayerAreThoseComputedThere) {
  Runner runner = this->runner();
  const Blocks source = computed(runner);
  const double most = kv_type() == KvType::kF16 ? 1e-3 : 2e-2;
  for (const std::int64_t shift : {1, 7, 64, 77}) {
    const Blocks there = copied(runner, source, shift);
    const Blocks expected = computed(runner, shift);
    double moved = 0.0;
    for (std::int64_t p = kFrom; p < kFrom + kCount; ++p) {
      const Stored from = stored(runner, 0, source, p);
      const Stored want = stored(runner, 0, expected, p + shift);
      const Stored got = stored(runner, 0, there, p + shift);
      EXPECT_LT(distance(want.key, got.key), most) << "position " << p << " by " << shift;
      EXPECT_EQ(want.value, got.value);
      moved = std::max(moved, distance(want.key, from.key));
    }
    EXPECT_TRUE(moved > 5 * most || !runner.model().spec().layers[0].rope) << moved;
  }
}

TEST_P(PositionCopies, BackwardsToo) {
  Runner runner = this->runner();
  const Blocks source = computed(runner, 70);
  const Blocks expected = computed(runner);
  const Blocks there = runner.blocks(150);
  runner.model().copy_positions(
      {.source = source, .from = 75, .blocks = there, .to = 5, .count = 145}, runner.cache());
  for (std::int64_t p = 5; p < 150; ++p) {
    EXPECT_LT(distance(stored(runner, 0, expected, p).key, stored(runner, 0, there, p).key),
              kv_type() == KvType::kF16 ? 1e-3 : 2e-2);
  }
}

TEST_P(PositionCopies, ValuesKeepTheirBitsAndKeysThatStayDo) {
  Runner runner = this->runner();
  const Blocks source = computed(runner);
  for (const std::int64_t shift : {0, 3, 64}) {
    const Blocks there = copied(runner, source, shift);
    for (std::int64_t layer = 0; layer < layers(runner); ++layer) {
      const bool turns = runner.model().spec().layers[static_cast<std::size_t>(layer)].rope;
      for (std::int64_t p = kFrom; p < kFrom + kCount; ++p) {
        const Stored from = stored(runner, layer, source, p);
        const Stored to = stored(runner, layer, there, p + shift);
        EXPECT_EQ(from.value, to.value);
        EXPECT_EQ(from.key == to.key, shift == 0 || !turns) << "layer " << layer;
      }
    }
  }
}

TEST_P(PositionCopies, LeaveTheirNeighboursAlone) {
  Runner runner = this->runner();
  const Blocks source = computed(runner);
  const Blocks there = computed(runner);
  std::vector<Stored> before;
  for (std::int64_t p = 0; p < 150; ++p) {
    before.push_back(stored(runner, 1, there, p));
  }
  runner.model().copy_positions(
      {.source = source, .from = 20, .blocks = there, .to = 30, .count = 75}, runner.cache());
  for (std::int64_t p = 0; p < 150; ++p) {
    if (p < 30 || p >= 105) {
      EXPECT_EQ(stored(runner, 1, there, p), before[static_cast<std::size_t>(p)]) << p;
    }
  }
}

TEST_P(PositionCopies, AreTheSameBitsOnAnyThreadsAndInstructionSet) {
  std::vector<Stored> first;
  const auto check = [&](Runner runner) {
    const Blocks there = copied(runner, computed(runner), 21);
    std::vector<Stored> all;
    for (std::int64_t layer = 0; layer < layers(runner); ++layer) {
      for (std::int64_t p = kFrom; p < kFrom + kCount; ++p) {
        all.push_back(stored(runner, layer, there, p + 21));
      }
    }
    first = first.empty() ? all : first;
    EXPECT_EQ(all, first);
  };
  check(runner(1));
  check(runner(2));
  for (const kernels::KernelTable* table : kernels::supported_tables()) {
    check(runner(1, table));
  }
}

// Its rotation is its own, in doubles.
TEST_P(PositionCopies, AgreeWithTheOracle) {
  Runner runner = this->runner();
  Runner oracle(path(), {.oracle = true, .kv_type = kv_type()});
  const Blocks source = computed(runner);
  const Blocks there = copied(runner, source, 21);
  const Blocks expected = runner.blocks(kFrom + kCount + 21);
  oracle.model().copy_positions(
      {.source = source, .from = kFrom, .blocks = expected, .to = kFrom + 21, .count = kCount},
      runner.cache());
  for (std::int64_t layer = 0; layer < layers(runner); ++layer) {
    for (std::int64_t p = kFrom + 21; p < kFrom + kCount + 21; ++p) {
      const Stored want = stored(runner, layer, expected, p);
      const Stored got = stored(runner, layer, there, p);
      EXPECT_EQ(want.value, got.value);
      EXPECT_LT(distance(want.key, got.key), kv_type() == KvType::kF16 ? 5e-4 : 2e-3);
    }
  }
}

// What comes before the copied positions is the same here, so that they are what would have been computed.
TEST_P(PositionCopies, OfTheSameBeginningChangeNoLogit) {
  Runner runner = this->runner();
  const Logits whole = runner.all_logits(tokens);
  const Blocks source = computed(runner);
  const Blocks blocks = runner.blocks(150);
  const std::span<const TokenId> text(tokens);
  runner.forward({{text.first(30), 0, blocks, Want::kNothing}});
  runner.model().copy_positions(
      {.source = source, .from = 30, .blocks = blocks, .to = 30, .count = 90}, runner.cache());
  EXPECT_EQ(runner.forward({{text.subspan(120), 120, blocks, Want::kAllLogits}}),
            Logits(whole.begin() + 120, whole.end()));
}

std::string name_of(const ::testing::TestParamInfo<PositionCopies::ParamType>& tested) {
  const auto& [model, type] = tested.param;
  return model + "_" + std::string(kernels::kv_type_name(type));
}

INSTANTIATE_TEST_SUITE_P(Tiny,
                         PositionCopies,
                         ::testing::Combine(::testing::ValuesIn(testing::kTinyDecoders),
                                            ::testing::Values(KvType::kF16, KvType::kQ8)),
                         name_of);

}  // namespace
}  // namespace edgewise::model
