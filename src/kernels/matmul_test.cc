#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <span>

#include "kernels/ops.h"
#include "kernels/planes.h"
#include "kernels/test_support.h"

namespace edgewise::kernels {
namespace {

using testing::random_blocks;
using testing::random_floats;

struct Case {
  tensor::DType type;
  std::int64_t rows, cols, tokens;
};

void PrintTo(const Case& c, std::ostream* os) {
  *os << tensor::traits(c.type).name << " " << c.rows << "x" << c.cols << " tokens " << c.tokens;
}

std::vector<Case> cases() {
  std::vector<Case> out;
  for (const tensor::DTypeTraits& t : tensor::all_dtypes()) {
    const std::int64_t step = t.block_elems == 256 ? 256 : 32;
    for (const std::int64_t tokens :
         {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 20, 24, 31, 37, 48}) {
      out.push_back({t.type, 37, step * 3, tokens});
    }
    // More than a pair of panels, than 256 columns and 256 tokens; no multiples of tiles.
    out.push_back({t.type, 37, step * (step == 32 ? 9 : 2), 64});
    out.push_back({t.type, 53, step * (step == 32 ? 17 : 1), 259});
    // More blocks than tiles keep unpacked at once.
    out.push_back({t.type, 37, step * (step == 32 ? 73 : 9), 35});
    out.push_back({t.type, 16, step, 4});
    out.push_back({t.type, 1, step * 2, 9});
    out.push_back({t.type, 27, step * 2, 9});  // part of the second half of a panel
  }
  return out;
}

class Matmul : public ::testing::TestWithParam<Case> {
 protected:
  void SetUp() override {
    const Case& c = GetParam();
    raw_ = random_blocks(c.type, c.rows, c.cols, 7);
    packed_.resize(static_cast<std::size_t>(packed_bytes(c.type, c.rows, c.cols)) + 4096);
    weights_ = {c.type, c.rows, c.cols, packed_.data()};
    pack_panels(c.type, raw_, c.rows, c.cols, 0, weights_.panels(), packed_.data());
    x_.resize(c.tokens, c.cols);
    const std::vector<float> values = random_floats(c.tokens * c.cols, 11);
    std::copy(values.begin(), values.end(), x_.values());
    for (std::int64_t t = 0; t < c.tokens; ++t) {
      portable().quantize_row(x_.values() + t * c.cols, c.cols, x_.row(t));
    }
  }

  static const KernelTable& portable() { return *supported_tables().front(); }

  std::vector<float> product(const KernelTable& table) const {
    const Case& c = GetParam();
    constexpr std::size_t kGuard = 16;  // behind the last row nothing may be written
    const auto count = static_cast<std::size_t>(c.tokens * c.rows);
    std::vector<float> y(count + kGuard, -7.0F);
    std::vector<std::byte> scratch(static_cast<std::size_t>(matmul_scratch_bytes(c.cols)));
    table.matmul(weights_, 0, weights_.panels(), x_.view(), y.data(), c.rows, scratch.data());
    EXPECT_THAT(std::span(y).subspan(count), ::testing::Each(-7.0F)) << table.name;
    y.resize(count);
    return y;
  }

  std::vector<std::byte> raw_, packed_;
  PackedMatrix weights_;
  ActivationBuffer x_;
};

// Against plain dequantization in doubles; the bound is that of float rounding along K.
TEST_P(Matmul, PortableEqualsDequantizedProductWithinRounding) {
  const Case& c = GetParam();
  std::vector<float> w(static_cast<std::size_t>(c.rows * c.cols));
  tensor::dequantize(c.type, raw_.data(), w);
  const bool is_float = tensor::traits(c.type).block_elems == 1;
  const std::vector<float> y = product(portable());
  for (std::int64_t t = 0; t < c.tokens; ++t) {
    for (std::int64_t row = 0; row < c.rows; ++row) {
      double sum = 0, magnitude = 0;
      for (std::int64_t k = 0; k < c.cols; ++k) {
        const CodeBlock& block = x_.view().row(t)[k / kBlock];
        const double x = is_float ? x_.values()[t * c.cols + k]
                                  : static_cast<double>(block.codes[k % kBlock]) * block.scale;
        const double product = x * w[static_cast<std::size_t>(row * c.cols + k)];
        sum += product;
        // Minima and scaled codes cancel inside the dequantized weight; 64 covers the largest sub-scale times code.
        magnitude += std::abs(product) + std::abs(x) * 0.05 * 64;
      }
      EXPECT_NEAR(y[static_cast<std::size_t>(t * c.rows + row)], sum, magnitude * 1e-6)
          << "token " << t << " row " << row;
    }
  }
}

TEST_P(Matmul, EveryInstructionSetGivesTheSameBits) {
  const std::vector<float> expected = product(portable());
  for (const KernelTable* table : supported_tables()) {
    const std::vector<float> y = product(*table);
    ASSERT_EQ(0, std::memcmp(y.data(), expected.data(), y.size() * 4)) << table->name;
  }
}

TEST_P(Matmul, InTwoPlanesGivesTheSameBits) {
  const Case& c = GetParam();
  if (!can_split(c.type)) {
    return;
  }
  const std::vector<float> expected = product(portable());
  std::vector<std::byte> planes(packed_.size());
  pack_planes(c.type, raw_, c.rows, c.cols, 0, weights_.panels(), planes.data());
  weights_ = split_matrix(c.type, c.rows, c.cols, planes.data());
  for (const KernelTable* table : supported_tables()) {
    const std::vector<float> y = product(*table);
    ASSERT_EQ(0, std::memcmp(y.data(), expected.data(), y.size() * 4)) << table->name;
  }
}

// Codes, integer scales and activations at the ends of their ranges: no sum may leave what holds it exactly.
TEST_P(Matmul, ExtremeCodesGiveTheSameBitsEverywhere) {
  const Case& c = GetParam();
  if (tensor::traits(c.type).block_elems == 1) {
    return;  // has no codes
  }
  for (const int fill : {0x00, 0xff, 0x7f, 0x80}) {
    raw_ = testing::uniform_blocks(c.type, c.rows, c.cols, static_cast<std::byte>(fill));
    pack_panels(c.type, raw_, c.rows, c.cols, 0, weights_.panels(), packed_.data());
    for (std::int64_t t = 0; t < c.tokens; ++t) {
      std::fill_n(x_.values() + t * c.cols, c.cols, t % 2 == 0 ? 3.0F : -3.0F);
      portable().quantize_row(x_.values() + t * c.cols, c.cols, x_.row(t));
    }
    const std::vector<float> expected = product(portable());
    for (const KernelTable* table : supported_tables()) {
      const std::vector<float> y = product(*table);
      ASSERT_EQ(0, std::memcmp(y.data(), expected.data(), y.size() * 4))
          << table->name << ", bytes " << fill;
    }
  }
}

// An activation that is not a number has the least code, and may leave its block a finite scale.
TEST_P(Matmul, WhatIsNotANumberGivesTheSameEverywhere) {
  const Case& c = GetParam();
  if (tensor::traits(c.type).block_elems == 1) {
    return;
  }
  for (std::int64_t t = 0; t < c.tokens; ++t) {
    float* row = x_.values() + t * c.cols;
    row[t % c.cols] = std::numeric_limits<float>::quiet_NaN();
    portable().quantize_row(row, c.cols, x_.row(t));
  }
  const std::vector<float> expected = product(portable());
  for (const KernelTable* table : supported_tables()) {
    const std::vector<float> y = product(*table);
    for (std::size_t i = 0; i < y.size(); ++i) {
      ASSERT_TRUE(y[i] == expected[i] || (std::isnan(y[i]) && std::isnan(expected[i])))
          << table->name << " " << i << ": " << y[i] << ", " << expected[i];
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Types, Matmul, ::testing::ValuesIn(cases()));

TEST(Quantize, RoundsWithinHalfAStepAndSumsItsCodes) {
  const std::vector<float> x = random_floats(256, 3, 5.0F);
  for (const KernelTable* table : supported_tables()) {
    CodeBlock blocks[8];
    table->quantize_row(x.data(), 256, blocks);
    for (std::size_t k = 0; k < 256; ++k) {
      const CodeBlock& block = blocks[k / 32];
      EXPECT_NEAR(static_cast<float>(block.codes[k % 32]) * block.scale, x[k],
                  block.scale * 0.5001F);
    }
    for (const CodeBlock& block : blocks) {
      const int first = std::accumulate(block.codes, block.codes + 16, 0);
      const int second = std::accumulate(block.codes + 16, block.codes + 32, 0);
      EXPECT_EQ(first, block.half_sum(0));
      EXPECT_EQ(second, block.half_sum(1));
      EXPECT_EQ(static_cast<float>(first + second) * block.scale, block.sum);
    }
  }
}

TEST(Quantize, ExtremeValuesGiveTheSameCodesEverywhere) {
  std::vector<float> x(128, 0.0F);
  x[70] = std::numeric_limits<float>::quiet_NaN();
  x[75] = 2.0F;
  x[100] = 1e-40F;
  x[3] = 1e30F;
  x[5] = -1e30F;
  x[40] = 1e-40F;  // denormal
  x[50] = std::numeric_limits<float>::infinity();
  CodeBlock expected[4];
  supported_tables().front()->quantize_row(x.data(), 128, expected);
  for (const KernelTable* table : supported_tables()) {
    CodeBlock blocks[4];
    table->quantize_row(x.data(), 128, blocks);
    for (int b = 0; b < 4; ++b) {
      EXPECT_EQ(0, std::memcmp(blocks[b].codes, expected[b].codes, 32)) << table->name;
    }
  }
}

// All bits of all fields, over sizes on both sides of a vector of blocks.
TEST(Quantize, GivesTheSameBitsEverywhere) {
  for (const std::int64_t cols : {32, 96, 512, 544, 1536}) {
    std::vector<float> x = random_floats(cols, 5, 3.0F);
    std::fill_n(x.begin(), 32, 0.0F);
    std::vector<CodeBlock> expected(static_cast<std::size_t>(cols / 32));
    supported_tables().front()->quantize_row(x.data(), cols, expected.data());
    for (const KernelTable* table : supported_tables()) {
      std::vector<CodeBlock> blocks(expected.size());
      table->quantize_row(x.data(), cols, blocks.data());
      EXPECT_EQ(0, std::memcmp(blocks.data(), expected.data(), blocks.size() * sizeof(CodeBlock)))
          << table->name << ", " << cols << " columns";
    }
  }
}

TEST(Ops, MatmulDoesNotDependOnThreadsOrGrouping) {
  constexpr std::int64_t kRows = 200, kCols = 512, kTokens = 21;
  const auto raw = random_blocks(tensor::DType::kQ4_K, kRows, kCols, 5);
  std::vector<std::byte> packed(
      static_cast<std::size_t>(packed_bytes(tensor::DType::kQ4_K, kRows, kCols)) + 4096);
  pack_panels(tensor::DType::kQ4_K, raw, kRows, kCols, 0, (kRows + 15) / 16, packed.data());
  const PackedMatrix w{tensor::DType::kQ4_K, kRows, kCols, packed.data()};
  const std::vector<float> values = random_floats(kTokens * kCols, 9);
  std::vector<float> expected;
  for (const int threads : {1, 2, 3}) {
    platform::WorkerPool pool(threads);
    Ops ops(pool, *supported_tables().back());
    for (const std::int64_t chunk : {kTokens, std::int64_t{1}, std::int64_t{6}}) {
      std::vector<float> y(static_cast<std::size_t>(kTokens * kRows));
      for (std::int64_t t = 0; t < kTokens; t += chunk) {
        ActivationBuffer x;
        const std::int64_t here = std::min(chunk, kTokens - t);
        x.resize(here, kCols);
        std::copy_n(values.data() + t * kCols, here * kCols, x.values());
        ops.quantize(x);
        const MatmulJob job{&w, y.data() + t * kRows, kRows};
        ops.matmul({&job, 1}, x.view());
      }
      if (expected.empty()) {
        expected = y;
      }
      EXPECT_EQ(0, std::memcmp(expected.data(), y.data(), y.size() * 4))
          << threads << " threads, chunk " << chunk;
    }
  }
}

// Jobs of several sizes, each with its own activations. Many tokens: a piece is a panel; few: several, over the ends of jobs.
class ProductsOfTheirOwnActivations {
 public:
  explicit ProductsOfTheirOwnActivations(std::int64_t most_tokens) {
    for (std::int64_t i = 0; i < std::int64_t{kJobs}; ++i) {
      const std::int64_t rows = 1 + i * 37 % 200;
      const std::int64_t tokens = i == std::int64_t{kJobs} / 2 ? 40 : 1 + i * i % most_tokens;
      const auto seed = static_cast<unsigned>(i);
      const auto raw = random_blocks(tensor::DType::kQ4_K, rows, kCols, seed);
      packed_.emplace_back(
          static_cast<std::size_t>(packed_bytes(tensor::DType::kQ4_K, rows, kCols)) + 4096);
      pack_panels(tensor::DType::kQ4_K, raw, rows, kCols, 0, (rows + 15) / 16,
                  packed_.back().data());
      weights_.push_back({tensor::DType::kQ4_K, rows, kCols, packed_.back().data()});
      x_.emplace_back().resize(tokens, kCols);
      const std::vector<float> values = random_floats(tokens * kCols, seed);
      std::copy(values.begin(), values.end(), x_.back().values());
    }
  }

  std::vector<std::vector<float>> run(Ops& ops, std::size_t begin, std::size_t end) {
    std::vector<std::vector<float>> y;
    std::vector<GroupedJob> jobs;
    for (std::size_t i = begin; i < end; ++i) {
      ops.quantize(x_[i]);
      const std::int64_t rows = weights_[i].rows;
      y.emplace_back(static_cast<std::size_t>(rows * x_[i].view().rows));
      jobs.push_back({{&weights_[i], y.back().data(), rows}, x_[i].view()});
    }
    ops.matmul(jobs);
    return y;
  }

  static constexpr std::size_t kJobs = 40;

 private:
  static constexpr std::int64_t kCols = 512;
  std::vector<std::vector<std::byte>> packed_;
  std::vector<PackedMatrix> weights_;
  std::vector<ActivationBuffer> x_;
};

TEST(Ops, ProductsOfTheirOwnActivationsAreThoseOfEachAlone) {
  for (const std::int64_t most_tokens : {3, 50}) {
    ProductsOfTheirOwnActivations products(most_tokens);
    for (const int threads : {1, 2, 3}) {
      platform::WorkerPool pool(threads);
      Ops ops(pool, *supported_tables().back());
      std::vector<std::vector<float>> alone;
      for (std::size_t i = 0; i < products.kJobs; ++i) {
        alone.push_back(products.run(ops, i, i + 1).front());
      }
      EXPECT_EQ(products.run(ops, 0, products.kJobs), alone) << threads << " threads";
      EXPECT_EQ(products.run(ops, 3, 8), std::vector(alone.begin() + 3, alone.begin() + 8));
      EXPECT_TRUE(products.run(ops, 0, 0).empty());
    }
  }
}

// Rows and columns that are no multiples of a tile, of one product and of two.
TEST(Ops, OutputsInTilesAreThoseOfWholeProducts) {
  constexpr std::int64_t kRows = 200, kCols = 512;
  const auto raw = random_blocks(tensor::DType::kQ4_K, 2 * kRows, kCols, 5);
  std::vector<std::byte> packed[2];
  PackedMatrix w[2];
  for (int i = 0; i < 2; ++i) {
    packed[i].resize(static_cast<std::size_t>(packed_bytes(tensor::DType::kQ4_K, kRows, kCols)) +
                     8192);
    pack_panels(tensor::DType::kQ4_K, std::span(raw).subspan(i * raw.size() / 2, raw.size() / 2),
                kRows, kCols, 0, (kRows + 15) / 16, packed[i].data());
    w[i] = {tensor::DType::kQ4_K, kRows, kCols, packed[i].data()};
  }
  const PackedMatrix* matrices[2] = {&w[0], &w[1]};
  for (const std::int64_t tokens : {1, 33, 300}) {
    ActivationBuffer x;
    x.resize(tokens, kCols);
    const std::vector<float> values = random_floats(tokens * kCols, 9);
    std::copy(values.begin(), values.end(), x.values());
    for (const KernelTable* table : supported_tables()) {
      for (const int threads : {1, 3}) {
        platform::WorkerPool pool(threads);
        Ops ops(pool, *table);
        ops.quantize(x);
        for (const std::size_t products : {1, 2}) {
          std::vector<float> expected(static_cast<std::size_t>(2 * tokens * kRows));
          const MatmulJob jobs[2] = {{&w[0], expected.data(), 2 * kRows},
                                     {&w[1], expected.data() + kRows, 2 * kRows}};
          ops.matmul(std::span(jobs).first(products), x.view());
          std::vector<float> y(expected.size());
          ops.matmul_in_tiles(
              std::span(matrices).first(products), x.view(), [&](const OutputTile& tile) {
                for (std::int64_t t = tile.row_begin; t < tile.row_end; ++t) {
                  for (std::size_t p = 0; p < products; ++p) {
                    std::copy_n(tile.of(t, static_cast<std::int64_t>(p)),
                                tile.column_end - tile.column_begin,
                                y.data() + (2 * t + static_cast<std::int64_t>(p)) * kRows +
                                    tile.column_begin);
                  }
                }
              });
          EXPECT_EQ(0, std::memcmp(expected.data(), y.data(), y.size() * 4))
              << table->name << ", " << tokens << " tokens, " << threads << " threads";
        }
      }
    }
  }
}

}  // namespace
}  // namespace edgewise::kernels
