// A token's logits are the same bits whatever runs beside it, however the text is cut, on any number of threads and
// any instruction set.
#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <limits>
#include <tuple>

#include "model/test_support.h"

namespace edgewise::model {
namespace {

using testing::Logits;
using testing::Runner;

using kernels::KvType;

class SameBits : public ::testing::TestWithParam<std::tuple<std::string, KvType>> {
 protected:
  std::filesystem::path path() const { return testing::tiny_model(std::get<0>(GetParam())); }

  KvType kv_type() const { return std::get<1>(GetParam()); }

  std::vector<TokenId> tokens = testing::random_tokens(64, 150, 7);
};

TEST_P(SameBits, OnOneThreadAndTwo) {
  EXPECT_EQ(Runner(path(), {.threads = 1, .kv_type = kv_type()}).all_logits(tokens),
            Runner(path(), {.threads = 2, .kv_type = kv_type()}).all_logits(tokens));
}

TEST_P(SameBits, InOneChunkAndMany) {
  Runner runner(path(), {.threads = 2, .kv_type = kv_type()});
  const Logits whole = runner.all_logits(tokens);
  for (const std::size_t chunk : {1, 5, 64, 100}) {
    EXPECT_EQ(runner.all_logits(tokens, chunk), whole) << "in chunks of " << chunk;
  }
}

TEST_P(SameBits, OnEveryInstructionSet) {
  const Logits first = Runner(path(), {.kv_type = kv_type()}).all_logits(tokens);
  for (const kernels::KernelTable* table : kernels::supported_tables()) {
    EXPECT_EQ(Runner(path(), {.kv_type = kv_type(), .table = table}).all_logits(tokens), first)
        << table->name;
  }
}

TEST_P(SameBits, AloneAndBesideOthers) {
  Runner runner(path(), {.threads = 2, .kv_type = kv_type()});
  const auto others = testing::random_tokens(64, 90, 8);
  const Logits alone = runner.all_logits(tokens);
  const Logits others_alone = runner.all_logits(others);
  const auto first = runner.blocks(tokens.size());
  const auto second = runner.blocks(others.size());
  const std::span<const TokenId> a(tokens);
  const std::span<const TokenId> b(others);
  // One sequence's prompt beside another's, then its decoding beside the other's rest, with rows nobody wants.
  runner.forward(
      {{a.first(60), 0, first, Want::kNothing}, {b.first(50), 0, second, Want::kNothing}});
  Logits rows = runner.forward({{b.subspan(50, 39), 50, second, Want::kAllLogits},
                                {a.subspan(60, 1), 60, first, Want::kLastLogits}});
  EXPECT_EQ(rows.back(), alone[60]);
  rows.pop_back();
  EXPECT_EQ(rows, Logits(others_alone.begin() + 50, others_alone.begin() + 89));
  rows = runner.forward(
      {{a.subspan(61), 61, first, Want::kLastLogits}, {b.last(1), 89, second, Want::kLastLogits}});
  EXPECT_EQ(rows, (Logits{alone.back(), others_alone.back()}));
}

std::string name_of(const ::testing::TestParamInfo<SameBits::ParamType>& tested) {
  const auto& [model, type] = tested.param;
  return model + "_" + std::string(kernels::kv_type_name(type));
}

INSTANTIATE_TEST_SUITE_P(Tiny,
                         SameBits,
                         ::testing::Combine(::testing::ValuesIn(testing::kTinyDecoders),
                                            ::testing::Values(KvType::kF16, KvType::kQ8)),
                         name_of);

TEST(SameBitsEmbedding, AloneAndBesideLogits) {
  Runner runner(testing::tiny_model("qwen3"), {.threads = 2});
  const auto text = testing::random_tokens(64, 70, 1);
  const auto other = testing::random_tokens(64, 40, 2);
  const std::vector<float> embedding = runner.embedding(text);
  const Logits logits = runner.all_logits(other);
  const auto first = runner.blocks(text.size());
  const auto second = runner.blocks(other.size());
  const auto third = runner.blocks(other.size());
  const Logits rows = runner.forward({{other, 0, second, Want::kLastLogits},
                                      {text, 0, first, Want::kEmbedding},
                                      {other, 0, third, Want::kAllLogits}});
  ASSERT_EQ(rows.size(), 2 + other.size());
  EXPECT_EQ(rows[0], logits.back());
  EXPECT_EQ(rows[1], embedding);
  EXPECT_EQ(Logits(rows.begin() + 2, rows.end()), logits);
}

// An encoder's text is computed in one piece, so there are no chunks: sizes instead, across blocks and the many rows whose gate
// and up are computed in tiles.
class SameBitsEncoder : public ::testing::TestWithParam<std::string> {
 protected:
  std::filesystem::path path() const { return testing::tiny_model(GetParam()); }

  static constexpr std::size_t kLengths[] = {1, 7, 33, 64, 110};

  static std::vector<TokenId> text(std::size_t length) {
    return testing::random_tokens(64, length, static_cast<unsigned>(length));
  }
};

TEST_P(SameBitsEncoder, OnAnyNumberOfThreads) {
  Runner one(path(), {.threads = 1});
  Runner two(path(), {.threads = 2});
  Runner five(path(), {.threads = 5});
  for (const std::size_t length : kLengths) {
    const std::vector<float> expected = one.embedding(text(length));
    EXPECT_EQ(two.embedding(text(length)), expected) << length << " tokens";
    EXPECT_EQ(five.embedding(text(length)), expected) << length << " tokens";
  }
}

TEST_P(SameBitsEncoder, OnEveryInstructionSet) {
  Runner first(path());
  for (const kernels::KernelTable* table : kernels::supported_tables()) {
    Runner runner(path(), {.table = table});
    for (const std::size_t length : kLengths) {
      EXPECT_EQ(runner.embedding(text(length)), first.embedding(text(length)))
          << table->name << ", " << length << " tokens";
    }
  }
}

TEST_P(SameBitsEncoder, AloneAndBesideOthers) {
  Runner runner(path(), {.threads = 2});
  std::vector<std::vector<TokenId>> texts;
  std::vector<std::vector<cache::BlockId>> blocks;
  std::vector<Segment> segments;
  Logits alone;
  for (const std::size_t length : kLengths) {
    texts.push_back(text(length));
    alone.push_back(runner.embedding(texts.back()));
    blocks.push_back(runner.blocks(length));
  }
  for (std::size_t i = 0; i < texts.size(); ++i) {
    segments.push_back({texts[i], 0, blocks[i], Want::kEmbedding});
  }
  EXPECT_EQ(runner.forward(segments), alone);
  std::ranges::reverse(segments);
  std::ranges::reverse(alone);
  EXPECT_EQ(runner.forward(segments), alone);
}

INSTANTIATE_TEST_SUITE_P(Tiny,
                         SameBitsEncoder,
                         ::testing::Values("bert_cls", "bert_mean"),
                         [](const auto& tested) { return tested.param; });

// A block's earlier owner leaves no trace.
class SameBitsReuse : public ::testing::TestWithParam<KvType> {};

TEST_P(SameBitsReuse, ARecycledBlock) {
  Runner runner(testing::tiny_model("llama"), {.kv_type = GetParam()});
  const auto text = testing::random_tokens(64, 100, 3);
  const Logits fresh = runner.all_logits(text);
  const auto block = runner.blocks(1);
  for (std::int64_t layer = 0; layer < std::ssize(runner.model().spec().layers); ++layer) {
    const kernels::KvBlock view = runner.cache().view(layer, block[0]);
    if (view.type == KvType::kF16) {
      std::fill_n(view.k_halves(), 16 * kernels::kKeyBlock, std::uint16_t{0x7E00});  // NaN
      std::fill_n(view.v_halves(), 16 * kernels::kKeyBlock, std::uint16_t{0x7C00});  // infinity
    } else {
      std::fill_n(view.k_scales, kernels::kKeyBlock, std::numeric_limits<float>::quiet_NaN());
      std::fill_n(view.v_scales, kernels::kKeyBlock, std::numeric_limits<float>::infinity());
    }
  }
  runner.cache().release(block[0]);
  EXPECT_EQ(runner.all_logits(text), fresh);
}

INSTANTIATE_TEST_SUITE_P(Types,
                         SameBitsReuse,
                         ::testing::Values(KvType::kF16, KvType::kQ8),
                         [](const auto& tested) {
                           return std::string(kernels::kv_type_name(tested.param));
                         });

}  // namespace
}  // namespace edgewise::model
