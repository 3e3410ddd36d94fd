#include "kernels/shortlist.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <functional>
#include <limits>

#include "kernels/planes.h"
#include "kernels/test_support.h"

namespace edgewise::kernels {
namespace {

using testing::random_blocks;
using testing::random_floats;

constexpr tensor::DType kType = tensor::DType::kQ8_0;

// A matrix as panels and in planes, and two rows of activations: a row and what its codes left over, smaller.
struct Case {
  std::int64_t rows, cols;
  std::vector<std::byte> raw, packed, planes;
  ActivationBuffer x;

  Case(std::int64_t row_count, std::int64_t col_count, unsigned seed)
      : rows(row_count), cols(col_count), raw(random_blocks(kType, rows, cols, seed)) {
    set_activations(random_floats(cols, seed + 1));
  }

  void set_activations(const std::vector<float>& values) {
    x.resize(2, cols);
    const KernelTable& table = *supported_tables().front();
    std::copy(values.begin(), values.end(), x.values());
    for (const std::int64_t t : {0, 1}) {
      table.quantize_row(x.values() + t * cols, cols, x.row(t));
      for (std::int64_t k = 0; t == 0 && k < cols; ++k) {
        const CodeBlock& block = x.row(0)[k / kBlock];
        x.values()[cols + k] =
            x.values()[k] - static_cast<float>(block.codes[k % kBlock]) * block.scale;
      }
    }
  }

  float scale(std::int64_t row, std::int64_t block) const {
    std::uint16_t half;
    std::memcpy(&half, raw.data() + (row * cols / 32 + block) * 34, 2);
    return tensor::f16_to_f32(half);
  }

  void set_scale(std::int64_t row, std::int64_t block, float value) {
    const std::uint16_t half = tensor::f32_to_f16(value);
    std::memcpy(raw.data() + (row * cols / 32 + block) * 34, &half, 2);
  }

  void copy_row(std::int64_t from, std::int64_t to) {
    const std::int64_t bytes = cols / 32 * 34;
    std::copy_n(raw.data() + from * bytes, bytes, raw.data() + to * bytes);
  }

  void pack() {
    packed.resize(static_cast<std::size_t>(packed_bytes(kType, rows, cols)) + 8192);
    planes.resize(packed.size());
    const std::int64_t panels = (rows + kPanelRows - 1) / kPanelRows;
    pack_panels(kType, raw, rows, cols, 0, panels, packed.data());
    pack_planes(kType, raw, rows, cols, 0, panels, planes.data());
  }

  // With ordinary panels.
  std::vector<float> full(Ops& ops) const {
    const PackedMatrix w{kType, rows, cols, packed.data()};
    return product(ops, w);
  }

  std::vector<float> product(Ops& ops, const PackedMatrix& w) const {
    std::vector<float> y(static_cast<std::size_t>(2 * rows));
    const MatmulJob job{&w, y.data(), rows};
    ops.matmul({&job, 1}, x.view());
    return y;
  }

  PackedMatrix split() const { return split_matrix(kType, rows, cols, planes.data()); }
};

std::vector<float> both_rows(std::vector<float> y) {
  const std::size_t rows = y.size() / 2;
  for (std::size_t i = 0; i < rows; ++i) {
    y[i] += y[rows + i];
  }
  y.resize(rows);
  return y;
}

// What is not -infinity has the full product's bits; whatever is at least the count-th largest is there.
void expect_the_largest(const std::vector<float>& full,
                        const std::vector<float>& found,
                        std::int64_t count) {
  std::vector<float> sorted = full;
  std::nth_element(sorted.begin(), sorted.begin() + count - 1, sorted.end(), std::greater<>());
  const float last = sorted[static_cast<std::size_t>(count - 1)];
  for (std::size_t i = 0; i < full.size(); ++i) {
    if (full[i] >= last || !std::isinf(found[i])) {
      ASSERT_EQ(std::bit_cast<std::uint32_t>(found[i]), std::bit_cast<std::uint32_t>(full[i]))
          << "row " << i << " of " << full.size() << ", top " << count;
    }
  }
}

// How many of the tops of 1, 3 and 40 were answered without the full product.
int expect_same(Case& c) {
  c.pack();
  int answered = 0;
  for (const KernelTable* table : supported_tables()) {
    for (const int threads : {1, 2}) {
      platform::WorkerPool pool(threads);
      Ops ops(pool, *table);
      const std::vector<float> panels = c.full(ops);
      const std::vector<float> planes = c.product(ops, c.split());
      EXPECT_EQ(0, std::memcmp(panels.data(), planes.data(), panels.size() * 4)) << table->name;
      for (const std::int64_t count : {1, 3, 40}) {
        Shortlist shortlist;
        std::vector<float> y(static_cast<std::size_t>(2 * c.rows), -7.0F);
        if (shortlist.find(ops, c.split(), c.x.view(), count, y.data(), c.rows)) {
          y.resize(static_cast<std::size_t>(c.rows));
          expect_the_largest(both_rows(panels), y, count);
          ++answered;
        }
      }
    }
  }
  return answered;
}

// One row in `every` is three times as large, so that the largest outputs stand out as a model's do.
void let_some_stand_out(Case& c, std::int64_t every) {
  for (std::int64_t row = 0; row < c.rows; row += every) {
    for (std::int64_t b = 0; b < c.cols / 32; ++b) {
      c.set_scale(row, b, 3.0F * c.scale(row, b));
    }
  }
}

TEST(Shortlist, FindsTheLargestOfRandomRows) {
  int answered = 0;
  for (unsigned seed = 0; seed < 6; ++seed) {
    Case c(1000 + 16 * seed + seed, 64 + 32 * seed, 10 * seed);
    let_some_stand_out(c, 17);
    answered += expect_same(c);
  }
  EXPECT_GT(answered, 0);
}

TEST(Shortlist, KeepsAllTies) {
  Case c(1200, 96, 3);
  std::int64_t best = 0;
  c.pack();
  platform::WorkerPool pool(1);
  Ops ops(pool, *supported_tables().front());
  const std::vector<float> y = both_rows(c.full(ops));
  best = std::max_element(y.begin(), y.end()) - y.begin();
  for (const std::int64_t row : {5, 16, 700, 1199}) {
    c.copy_row(best, row);
  }
  EXPECT_GT(expect_same(c), 0);
}

TEST(Shortlist, AllRowsEqualAreTooMany) {
  Case c(800, 64, 4);
  for (std::int64_t row = 1; row < c.rows; ++row) {
    c.copy_row(0, row);
  }
  EXPECT_EQ(expect_same(c), 0);
}

TEST(Shortlist, LowNibblesThatDecide) {
  // Same high nibbles everywhere: only the low plane tells the rows apart.
  Case c(1000, 128, 5);
  for (std::int64_t row = 1; row < c.rows; ++row) {
    for (std::int64_t b = 0; b < c.cols / 32; ++b) {
      std::memcpy(c.raw.data() + (row * c.cols / 32 + b) * 34, c.raw.data() + b * 34, 2);
      for (std::int64_t k = 0; k < 32; ++k) {
        std::byte& code = c.raw[static_cast<std::size_t>((row * c.cols / 32 + b) * 34 + 2 + k)];
        const std::byte first = c.raw[static_cast<std::size_t>(b * 34 + 2 + k)];
        code = (code & std::byte{15}) | (first & std::byte{0xf0});
      }
    }
  }
  expect_same(c);
  // ... and in a hundred rows that stand out, few enough for a shortlist.
  for (std::int64_t row = 0; row < c.rows; ++row) {
    for (std::int64_t b = 0; row % 10 != 0 && b < c.cols / 32; ++b) {
      c.set_scale(row, b, 0.0F);
    }
  }
  c.pack();
  platform::WorkerPool pool(1);
  Ops ops(pool, *supported_tables().front());
  const std::vector<float> y = both_rows(c.full(ops));
  if (*std::max_element(y.begin(), y.end()) <= 0.0F) {  // else the zeros win
    std::vector<float> turned(c.x.values(), c.x.values() + c.cols);
    std::ranges::transform(turned, turned.begin(), std::negate<>());
    c.set_activations(turned);
  }
  EXPECT_GT(expect_same(c), 0);
}

TEST(Shortlist, ZerosHugeAndNegativeScales) {
  Case c(1000, 160, 6);
  for (std::int64_t row = 0; row < c.rows; ++row) {
    for (std::int64_t b = 0; b < c.cols / 32; ++b) {
      const std::int64_t kind = (row * 7 + b) % 5;
      c.set_scale(row, b, kind == 0 ? 0.0F : kind == 1 ? 6e4F : kind == 2 ? -0.5F : 6e-8F);
    }
  }
  expect_same(c);
  for (const float size : {0.0F, 1e-38F, 1e-20F, 1e20F, 1e30F, 3e38F}) {
    std::vector<float> values = random_floats(c.cols, 8);
    for (float& value : values) {
      value = std::clamp(value, -1.0F, 1.0F) * size;
    }
    c.set_activations(values);
    c.pack();
    for (const KernelTable* table : supported_tables()) {
      platform::WorkerPool pool(1);
      Ops ops(pool, *table);
      Shortlist shortlist;
      std::vector<float> y(static_cast<std::size_t>(2 * c.rows));
      if (shortlist.find(ops, c.split(), c.x.view(), 3, y.data(), c.rows)) {
        y.resize(static_cast<std::size_t>(c.rows));
        expect_the_largest(both_rows(c.full(ops)), y, 3);
      }
    }
  }
}

TEST(Shortlist, WhatIsNoNumberIsLeftToTheFullProduct) {
  Case c(900, 64, 9);
  let_some_stand_out(c, 50);
  for (const float bad :
       {std::numeric_limits<float>::infinity(), std::numeric_limits<float>::quiet_NaN()}) {
    c.set_scale(777, 1, bad);
    EXPECT_EQ(expect_same(c), 0);
  }
}

TEST(Shortlist, FewRowsForManyOutputsAreLeftToTheFullProduct) {
  Case c(37, 64, 2);
  c.pack();
  platform::WorkerPool pool(1);
  Ops ops(pool, *supported_tables().front());
  Shortlist shortlist;
  std::vector<float> y(74);
  EXPECT_FALSE(shortlist.find(ops, c.split(), c.x.view(), 4, y.data(), c.rows));
}

TEST(Shortlist, PausesAfterFailures) {
  Case c(800, 64, 4);
  for (std::int64_t row = 1; row < c.rows; ++row) {
    c.copy_row(0, row);
  }
  c.pack();
  platform::WorkerPool pool(1);
  Ops ops(pool, *supported_tables().back());
  Shortlist shortlist;
  std::vector<float> y(static_cast<std::size_t>(2 * c.rows));
  for (int i = 0; i < 100; ++i) {
    EXPECT_FALSE(shortlist.find(ops, c.split(), c.x.view(), 1, y.data(), c.rows));
  }
  EXPECT_EQ(shortlist.counts().fallbacks, 7);  // calls 1, 3, 6, 11, 20, 37, 70
  EXPECT_EQ(shortlist.counts().used, 0);
}

}  // namespace
}  // namespace edgewise::kernels
