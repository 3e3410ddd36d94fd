// The mixture of experts against each expert alone, token by token: what docs/arithmetic.md defines.
#include "model/experts.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <numeric>

#include "kernels/test_support.h"

namespace edgewise::model {
namespace {

using tensor::DType;

constexpr std::int64_t kWidth = 256;
constexpr std::int64_t kExpertWidth = 512;
constexpr std::int64_t kExperts = 24;
constexpr std::int64_t kUsed = 5;

class Layer {
 public:
  Layer(DType type, DType down) {
    weights_.router = matrix(DType::kF32, kExperts, kWidth);
    for (std::int64_t e = 0; e < kExperts; ++e) {
      weights_.experts.push_back({matrix(type, kExpertWidth, kWidth),
                                  matrix(type, kExpertWidth, kWidth),
                                  matrix(down, kWidth, kExpertWidth)});
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

ModelSpec spec_of_test() {
  ModelSpec spec;
  spec.width = kWidth;
  spec.experts = kExperts;
  spec.experts_used = kUsed;
  spec.expert_width = kExpertWidth;
  spec.expert_weights_scale = 1.5F;
  return spec;
}

void fill(kernels::ActivationBuffer& x, std::int64_t rows, const kernels::KernelTable& table) {
  x.resize(rows, kWidth);
  const std::vector<float> values = kernels::testing::random_floats(rows * kWidth, 5);
  std::ranges::copy(values, x.values());
  for (std::int64_t t = 0; t < rows; ++t) {
    table.quantize_row(x.values() + t * kWidth, kWidth, x.row(t));
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

std::vector<float> token(kernels::Ops& ops, const LayerWeights& layer, const float* x) {
  kernels::ActivationBuffer in;
  in.resize(1, kWidth);
  std::copy_n(x, kWidth, in.values());
  std::vector<float> p = product(ops, layer.router, in);
  ops.kernels().softmax(kExperts, p.data());
  std::vector<std::size_t> ids(p.size());
  std::iota(ids.begin(), ids.end(), std::size_t{0});
  std::ranges::stable_sort(ids, [&](std::size_t a, std::size_t b) { return p[a] > p[b]; });
  ids.resize(kUsed);
  std::ranges::sort(ids);
  float total = 0.0F;
  for (const std::size_t id : ids) {
    total += p[id];
  }
  std::vector<float> out(kWidth, 0.0F);
  for (const std::size_t id : ids) {
    const std::vector<float> one = expert(ops, layer.experts[id], x);
    ops.kernels().add_scaled(one.data(), p[id] / total * spec_of_test().expert_weights_scale,
                             kWidth, out.data());
  }
  return out;
}

class Experts : public ::testing::TestWithParam<std::pair<DType, DType>> {};

TEST_P(Experts, TogetherGiveTheBitsOfEachAlone) {
  Layer layer(GetParam().first, GetParam().second);
  const ModelSpec spec = spec_of_test();
  for (const int threads : {1, 3}) {
    platform::WorkerPool pool(threads);
    kernels::Ops ops(pool, **kernels::select_table());
    ExpertMixture mixture(spec, ops);
    for (const std::int64_t rows : {1, 2, 17, 130, 1}) {
      kernels::ActivationBuffer x;
      fill(x, rows, ops.kernels());
      RowBuffer out;
      out.resize(rows, kWidth);
      std::fill_n(out.row(0), rows * out.stride(), -7.0F);
      mixture.run(layer.weights(), x.view(), out);
      for (std::int64_t t = 0; t < rows; ++t) {
        const std::vector<float> expected = token(ops, layer.weights(), x.values() + t * kWidth);
        ASSERT_TRUE(std::ranges::equal(out.view(t), expected))
            << "token " << t << " of " << rows << ", " << threads << " threads";
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Types,
                         Experts,
                         ::testing::Values(std::pair{DType::kQ4_K, DType::kQ6_K},
                                           std::pair{DType::kF16, DType::kQ8_0},
                                           std::pair{DType::kQ8_0, DType::kF32}));

// A router that knows no difference: the lowest ids.
TEST(ExpertsChoice, TiesGoToTheLowerId) {
  Layer layer(DType::kQ8_0, DType::kQ8_0);
  platform::WorkerPool pool(1);
  kernels::Ops ops(pool, **kernels::select_table());
  const ModelSpec spec = spec_of_test();
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
