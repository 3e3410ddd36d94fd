// The mixture of experts against each expert alone, token by token: what docs/arithmetic.md defines.
#include "model/experts.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <limits>
#include <numeric>
#include <optional>

#include "kernels/test_support.h"

namespace edgewise::model {
namespace {

using tensor::DType;

constexpr std::int64_t kWidth = 256;
constexpr std::int64_t kExpertWidth = 256;
constexpr std::int64_t kExperts = 12;

struct Types {
  DType gate, up, down, router = DType::kF32;
};

class Layer {
 public:
  explicit Layer(const Types& types) {
    weights_.router = matrix(types.router, kExperts, kWidth);
    for (std::int64_t e = 0; e < kExperts; ++e) {
      weights_.experts.push_back({matrix(types.gate, kExpertWidth, kWidth),
                                  matrix(types.up, kExpertWidth, kWidth),
                                  matrix(types.down, kWidth, kExpertWidth)});
    }
  }

  LayerWeights& weights() { return weights_; }

 private:
  Matrix matrix(DType type, std::int64_t rows, std::int64_t cols) {
    raw_.push_back(kernels::testing::random_blocks(type, rows, cols, ++seed_));
    packed_.emplace_back(static_cast<std::size_t>(kernels::packed_bytes(type, rows, cols) + 4096));
    std::byte* data = packed_.back().data();
    Matrix matrix;
    matrix.type = type;
    matrix.rows = rows;
    matrix.cols = cols;
    matrix.stored = raw_.back();
    matrix.packed = {type, rows, cols, data};
    kernels::pack_panels(type, raw_.back(), rows, cols, 0, matrix.packed.panels(), data);
    return matrix;
  }

  unsigned seed_ = 0;
  std::vector<std::vector<std::byte>> raw_, packed_;
  LayerWeights weights_;
};

ModelSpec spec_of_test(std::int64_t used) {
  ModelSpec spec;
  spec.width = kWidth;
  spec.experts = kExperts;
  spec.experts_used = used;
  spec.expert_weights_normalized = used > 1;
  spec.expert_width = kExpertWidth;
  spec.expert_weights_scale = 1.5F;
  return spec;
}

constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

void fill(kernels::ActivationBuffer& x, std::int64_t rows, const kernels::KernelTable& table) {
  x.resize(rows, kWidth);
  const std::vector<float> values = kernels::testing::random_floats(rows * kWidth, 5);
  std::ranges::copy(values, x.values());
  for (std::int64_t t = 0; t < rows; ++t) {
    table.quantize_row(x.values() + t * kWidth, kWidth, x.row(t));
  }
}

// What nobody may read.
void spoil(kernels::ActivationBuffer& x, bool values, bool codes) {
  const kernels::Activations view = x.view();
  if (values) {
    std::fill_n(x.values(), view.rows * view.cols, kNan);
  }
  for (std::int64_t i = 0; codes && i < view.rows * view.cols / kernels::kBlock; ++i) {
    x.row(0)[i].scale = x.row(0)[i].sum = kNan;
  }
}

std::vector<float> product(kernels::Ops& ops, const Matrix& w, kernels::ActivationBuffer& x) {
  std::vector<float> y(static_cast<std::size_t>(w.rows));
  const kernels::MatmulJob job{&w.packed, y.data(), w.rows};
  multiply(ops, x, {&job, 1});
  return y;
}

std::vector<float> expert(kernels::Ops& ops, const Expert& of, const float* x) {
  kernels::ActivationBuffer in;
  in.resize(1, kWidth);
  std::copy_n(x, kWidth, in.values());
  std::vector<float> gate = product(ops, of.gate, in);
  const std::vector<float> up = product(ops, of.up, in);
  kernels::ActivationBuffer hidden;
  hidden.resize(1, kExpertWidth);
  ops.kernels().silu_mul(gate.data(), up.data(), kExpertWidth, hidden.values());
  return product(ops, of.down, hidden);
}

std::vector<float> token(kernels::Ops& ops,
                         const ModelSpec& spec,
                         const LayerWeights& layer,
                         const float* x) {
  kernels::ActivationBuffer in;
  in.resize(1, kWidth);
  std::copy_n(x, kWidth, in.values());
  std::vector<float> p = product(ops, layer.router, in);
  ops.kernels().softmax(kExperts, p.data());
  std::vector<std::size_t> ids(p.size());
  std::iota(ids.begin(), ids.end(), std::size_t{0});
  std::ranges::stable_sort(ids, [&](std::size_t a, std::size_t b) { return p[a] > p[b]; });
  ids.resize(static_cast<std::size_t>(spec.experts_used));
  std::ranges::sort(ids);
  float total = 0.0F;
  for (const std::size_t id : ids) {
    total += p[id];
  }
  const float divisor = spec.expert_weights_normalized ? total : 1.0F;
  std::vector<float> out(kWidth, 0.0F);
  for (const std::size_t id : ids) {
    const std::vector<float> one = expert(ops, layer.experts[id], x);
    ops.kernels().add_scaled(one.data(), p[id] / divisor * spec.expert_weights_scale, kWidth,
                             out.data());
  }
  return out;
}

class Experts : public ::testing::TestWithParam<Types> {
 protected:
  // The mixture's outputs of `rows` tokens, of which those in `broken` are not numbers, against each token alone.
  void expect_each_alone(std::int64_t used,
                         std::initializer_list<std::int64_t> all_rows,
                         std::optional<std::int64_t> broken = std::nullopt) {
    Layer layer(GetParam());
    const ModelSpec spec = spec_of_test(used);
    const Reader reader = ExpertMixture::reader_of(layer.weights());
    for (const int threads : {1, 3}) {
      platform::WorkerPool pool(threads);
      kernels::Ops ops(pool, **kernels::select_table());
      ExpertMixture mixture(spec, ops);
      for (const std::int64_t rows : all_rows) {
        kernels::ActivationBuffer x;
        fill(x, rows, ops.kernels());
        const std::vector<float> values(x.values(), x.values() + rows * kWidth);
        spoil(x, !reader.values, !reader.codes);
        if (broken) {
          std::fill_n(x.values() + *broken * kWidth, kWidth, kNan);
          x.row(*broken)->scale = kNan;
        }
        RowBuffer out;
        out.resize(rows, kWidth);
        std::fill_n(out.row(0), rows * out.stride(), -7.0F);
        mixture.run(layer.weights(), x.view(), out);
        for (std::int64_t t = 0; t < rows; ++t) {
          ASSERT_TRUE(t == broken ||
                      std::ranges::equal(out.view(t), token(ops, spec, layer.weights(),
                                                            values.data() + t * kWidth)))
              << "token " << t << " of " << rows << ", " << used << " used, " << threads
              << " threads";
        }
      }
    }
  }
};

TEST_P(Experts, TogetherGiveTheBitsOfEachAlone) {
  expect_each_alone(5, {0, 1, 2, 17, 1});
}

TEST_P(Experts, OneUsedOrAllGiveTheBitsOfEachAlone) {
  expect_each_alone(1, {1, 9});
  expect_each_alone(kExperts, {1, 9});
}

TEST_P(Experts, ABrokenTokenLeavesItsNeighboursAlone) {
  expect_each_alone(5, {3}, 1);
}

INSTANTIATE_TEST_SUITE_P(
    Types,
    Experts,
    ::testing::Values(Types{DType::kQ4_K, DType::kQ4_K, DType::kQ6_K},
                      Types{DType::kF16, DType::kF16, DType::kQ8_0},
                      Types{DType::kQ8_0, DType::kQ8_0, DType::kF32},
                      Types{DType::kF16, DType::kQ8_0, DType::kF16, DType::kQ8_0},
                      Types{DType::kQ8_0, DType::kQ8_0, DType::kQ8_0, DType::kQ8_0}));

TEST(ExpertsInSlices, GiveTheBitsOfEachAlone) {
  Layer layer({DType::kQ8_0, DType::kQ8_0, DType::kQ8_0});
  const ModelSpec spec = spec_of_test(5);
  platform::WorkerPool pool(2);
  kernels::Ops ops(pool, **kernels::select_table());
  ExpertMixture mixture(spec, ops);
  constexpr std::int64_t kRows = 515;  // two slices
  kernels::ActivationBuffer x;
  fill(x, kRows, ops.kernels());
  RowBuffer out;
  out.resize(kRows, kWidth);
  mixture.run(layer.weights(), x.view(), out);
  for (const std::int64_t t : {0, 1, 300, 510, 511, 512, 513, 514}) {
    ASSERT_TRUE(
        std::ranges::equal(out.view(t), token(ops, spec, layer.weights(), x.values() + t * kWidth)))
        << "token " << t;
  }
}

// A router that knows no difference: the lowest ids.
TEST(ExpertsChoice, TiesGoToTheLowerId) {
  constexpr std::int64_t kUsed = 5;
  Layer layer({DType::kQ8_0, DType::kQ8_0, DType::kQ8_0});
  platform::WorkerPool pool(1);
  kernels::Ops ops(pool, **kernels::select_table());
  const ModelSpec spec = spec_of_test(kUsed);
  ExpertMixture mixture(spec, ops);
  kernels::ActivationBuffer x;
  fill(x, 3, ops.kernels());
  std::vector<std::byte> zeros(
      static_cast<std::size_t>(kernels::packed_bytes(DType::kF32, kExperts, kWidth) + 4096));
  layer.weights().router.packed.data = zeros.data();
  RowBuffer out;
  out.resize(3, kWidth);
  mixture.run(layer.weights(), x.view(), out);
  for (std::int64_t t = 0; t < 3; ++t) {
    std::vector<float> expected(kWidth, 0.0F);
    for (std::size_t id = 0; id < kUsed; ++id) {
      const std::vector<float> one =
          expert(ops, layer.weights().experts[id], x.values() + t * kWidth);
      ops.kernels().add_scaled(one.data(), 0.2F * spec.expert_weights_scale, kWidth,
                               expected.data());
    }
    for (std::size_t i = 0; i < expected.size(); ++i) {
      ASSERT_NEAR(out.row(t)[i], expected[i], 1e-5F * std::abs(expected[i]) + 1e-6F);
    }
  }
}

}  // namespace
}  // namespace edgewise::model
