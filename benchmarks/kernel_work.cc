// One piece of kernel work, done once in measured(): for tools that count instructions (tests/instructions/check.py).
//   kernel_work --list     the names
//   kernel_work NAME       does it, by the kernels that EDGEWISE_ISA names, on one thread
#include <fmt/format.h>

#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "kernels/ops.h"
#include "kernels/planes.h"
#include "kernels/test_support.h"
#include "tensor/dtype.h"

namespace edgewise {

// The counting tool looks for this name.
[[gnu::noinline]] void measured(const std::function<void()>& work) {
  work();
  asm volatile("" ::: "memory");
}

namespace {

using kernels::KernelTable;
using kernels::Ops;
using kernels::testing::random_blocks;
using kernels::testing::random_floats;
using tensor::DType;

kernels::ActivationBuffer activations(std::int64_t rows, std::int64_t cols) {
  kernels::ActivationBuffer x;
  x.resize(rows, cols);
  const std::vector<float> values = random_floats(rows * cols, 11);
  std::copy(values.begin(), values.end(), x.values());
  return x;
}

constexpr std::int64_t kRows = 64, kCols = 1536;

std::vector<std::byte> packed(DType type, bool in_planes) {
  const std::vector<std::byte> raw = random_blocks(type, kRows, kCols, 7);
  std::vector<std::byte> out(static_cast<std::size_t>(kernels::packed_bytes(type, kRows, kCols)) +
                             4096);
  const auto pack = in_planes ? kernels::pack_planes : kernels::pack_panels;
  pack(type, raw, kRows, kCols, 0, kRows / kernels::kPanelRows, out.data());
  return out;
}

void multiply(Ops& ops, const kernels::PackedMatrix& weights, std::int64_t tokens) {
  kernels::ActivationBuffer x = activations(tokens, kCols);
  ops.quantize(x);
  std::vector<float> y(static_cast<std::size_t>(tokens * kRows));
  const kernels::MatmulJob job{&weights, y.data(), kRows};
  measured([&] { ops.matmul({&job, 1}, x.view()); });
}

void product(Ops& ops, DType type, std::int64_t tokens) {
  const std::vector<std::byte> data = packed(type, false);
  multiply(ops, {type, kRows, kCols, data.data()}, tokens);
}

void product_in_planes(Ops& ops, std::int64_t tokens) {
  const std::vector<std::byte> data = packed(DType::kQ8_0, true);
  multiply(ops, kernels::split_matrix(DType::kQ8_0, kRows, kCols, data.data()), tokens);
}

// The shortlist's first pass, and its second for every row.
void search_planes(Ops& ops) {
  const std::vector<std::byte> data = packed(DType::kQ8_0, true);
  const kernels::PackedMatrix weights =
      kernels::split_matrix(DType::kQ8_0, kRows, kCols, data.data());
  kernels::ActivationBuffer x = activations(2, kCols);
  ops.quantize(x);
  const std::vector<float> slack(kCols / kernels::kBlock, 1.0F);
  std::vector<float> score(kRows), upper(kRows), best(kRows), most(kRows);
  measured([&] {
    ops.kernels().scan_planes(weights, 0, weights.panels(), x.view(), slack.data(),
                              {score.data(), upper.data(), best.data(), most.data()});
    for (std::int64_t row = 0; row < kRows; ++row) {
      score[static_cast<std::size_t>(row)] += ops.kernels().low_part(weights, row, x.view());
    }
  });
}

void quantize(Ops& ops) {
  kernels::ActivationBuffer x = activations(16, 1536);
  measured([&] { ops.quantize(x); });
}

// Keys and values of as many positions as are stored.
class Cache {
 public:
  Cache(kernels::KvType type, const kernels::AttentionShape& shape) : type_(type), shape_(shape) {}

  void store(const KernelTable& table, std::int64_t position, float* key, const float* value) {
    if (position % kernels::kKeyBlock == 0) {
      add_block();
    }
    table.store_kv(shape_, key, value, blocks_.back(), position % kernels::kKeyBlock);
  }

  const std::vector<kernels::KvBlock>& blocks() const { return blocks_; }

 private:
  void add_block() {
    const std::int64_t scales = shape_.kv_heads * kernels::kKeyBlock;
    const auto bytes = static_cast<std::size_t>(2 * scales * shape_.head_dim);  // as binary16
    memory_.push_back({std::vector<std::byte>(bytes), std::vector<std::byte>(bytes),
                       std::vector<float>(static_cast<std::size_t>(2 * scales))});
    Memory& memory = memory_.back();
    blocks_.push_back({.type = type_,
                       .k = memory.keys.data(),
                       .v = memory.values.data(),
                       .k_scales = memory.scales.data(),
                       .v_scales = memory.scales.data() + scales});
  }

  struct Memory {
    std::vector<std::byte> keys, values;
    std::vector<float> scales;
  };

  kernels::KvType type_;
  kernels::AttentionShape shape_;
  std::vector<Memory> memory_;
  std::vector<kernels::KvBlock> blocks_;
};

// The last `tokens` of a context, three query heads for each of two key heads.
void attention(Ops& ops, kernels::KvType type, std::int64_t tokens) {
  constexpr std::int64_t kContext = 320;
  const kernels::AttentionShape shape{
      .heads = 6, .kv_heads = 2, .head_dim = 64, .value_dim = 64, .scale = 0.125F};
  const std::int64_t width = shape.kv_heads * shape.head_dim;
  Cache cache(type, shape);
  for (std::int64_t position = 0; position < kContext; ++position) {
    std::vector<float> key = random_floats(width, static_cast<unsigned>(position));
    const std::vector<float> value = random_floats(width, static_cast<unsigned>(position) + 9999);
    cache.store(ops.kernels(), position, key.data(), value.data());
  }
  const std::int64_t q_width = shape.heads * shape.head_dim;
  const std::vector<float> q = random_floats(tokens * q_width, 5);
  std::vector<float> out(q.size());
  const kernels::AttentionSegment segment{.q = q.data(),
                                          .out = out.data(),
                                          .tokens = tokens,
                                          .first_position = kContext - tokens,
                                          .kv_length = kContext,
                                          .blocks = cache.blocks()};
  measured([&] { ops.attention(shape, {&segment, 1}, q_width, q_width); });
}

void rows(Ops& ops, const std::function<void(const KernelTable&, float*, const float*)>& work) {
  std::vector<float> x = random_floats(4096, 3);
  const std::vector<float> other = random_floats(4096, 4);
  measured([&] { work(ops.kernels(), x.data(), other.data()); });
}

struct Case {
  std::string name;
  std::function<void(Ops&)> run;
};

std::vector<Case> cases() {
  std::vector<Case> out;
  for (const tensor::DTypeTraits& type : tensor::all_dtypes()) {
    for (const std::int64_t tokens : {1, 8, 64}) {
      out.push_back({fmt::format("product {} x {}", type.name, tokens),
                     [=, dtype = type.type](Ops& ops) { product(ops, dtype, tokens); }});
    }
  }
  for (const std::int64_t tokens : {2, 64}) {
    out.push_back({fmt::format("product in planes x {}", tokens),
                   [=](Ops& ops) { product_in_planes(ops, tokens); }});
  }
  out.push_back({"search planes", search_planes});
  out.push_back({"quantize", quantize});
  for (const kernels::KvType type : {kernels::KvType::kF16, kernels::KvType::kQ8}) {
    for (const std::int64_t tokens : {1, 64}) {
      out.push_back({fmt::format("attention {} x {}", kernels::kv_type_name(type), tokens),
                     [=](Ops& ops) { attention(ops, type, tokens); }});
    }
  }
  constexpr std::int64_t kCount = 4096;
  out.push_back({"rms_norm", [](Ops& ops) {
                   rows(ops, [](const KernelTable& table, float* x, const float* weight) {
                     table.rms_norm(x, weight, 1e-6F, kCount, x);
                   });
                 }});
  out.push_back({"silu_mul", [](Ops& ops) {
                   rows(ops, [](const KernelTable& table, float* x, const float* up) {
                     table.silu_mul(x, up, kCount, x);
                   });
                 }});
  out.push_back({"gelu_mul", [](Ops& ops) {
                   rows(ops, [](const KernelTable& table, float* x, const float* up) {
                     table.gelu_mul(x, up, kCount, x);
                   });
                 }});
  out.push_back({"gelu_erf_mul", [](Ops& ops) {
                   rows(ops, [](const KernelTable& table, float* x, const float*) {
                     table.gelu_erf_mul(x, nullptr, kCount, x);
                   });
                 }});
  out.push_back({"softmax", [](Ops& ops) {
                   rows(ops, [](const KernelTable& table, float* x, const float*) {
                     table.softmax(kCount, x);
                   });
                 }});
  return out;
}

int run(std::string_view name) {
  if (name == "--list") {
    for (const Case& c : cases()) {
      fmt::print("{}\n", c.name);
    }
    return 0;
  }
  const auto table = kernels::select_table();
  if (!table) {
    fmt::print(stderr, "{}\n", table.error().message);
    return 1;
  }
  platform::WorkerPool pool(1);
  Ops ops(pool, **table);
  for (const Case& c : cases()) {
    if (c.name == name) {
      c.run(ops);
      return 0;
    }
  }
  fmt::print(stderr, "kernel_work: no case '{}'; --list names them\n", name);
  return 2;
}

}  // namespace
}  // namespace edgewise

int main(int argc, char** argv) {
  if (argc != 2) {
    fmt::print(stderr, "usage: kernel_work --list | NAME\n");
    return 2;
  }
  return edgewise::run(argv[1]);
}
