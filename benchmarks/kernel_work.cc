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

void product(Ops& ops, DType type, std::int64_t tokens) {
  constexpr std::int64_t kRows = 64, kCols = 1536;
  const std::vector<std::byte> raw = random_blocks(type, kRows, kCols, 7);
  std::vector<std::byte> packed(
      static_cast<std::size_t>(kernels::packed_bytes(type, kRows, kCols)) + 4096);
  kernels::pack_panels(type, raw, kRows, kCols, 0, kRows / kernels::kPanelRows, packed.data());
  const kernels::PackedMatrix weights{type, kRows, kCols, packed.data()};
  kernels::ActivationBuffer x = activations(tokens, kCols);
  ops.quantize(x);
  std::vector<float> y(static_cast<std::size_t>(tokens * kRows));
  const kernels::MatmulJob job{&weights, y.data(), kRows};
  measured([&] { ops.matmul({&job, 1}, x.view()); });
}

void quantize(Ops& ops) {
  kernels::ActivationBuffer x = activations(16, 1536);
  measured([&] { ops.quantize(x); });
}

// The last `tokens` of a context, three query heads for each of two key heads.
void attention(Ops& ops, std::int64_t tokens) {
  constexpr std::int64_t kContext = 320;
  const kernels::AttentionShape shape{
      .heads = 6, .kv_heads = 2, .head_dim = 64, .value_dim = 64, .scale = 0.125F};
  const std::int64_t width = shape.kv_heads * shape.head_dim;
  std::vector<std::vector<std::uint16_t>> memory;
  std::vector<kernels::KvBlock> blocks;
  for (std::int64_t position = 0; position < kContext; ++position) {
    if (position % kernels::kKeyBlock == 0) {
      for (int i = 0; i < 2; ++i) {
        memory.emplace_back(static_cast<std::size_t>(kernels::kKeyBlock * width));
      }
      blocks.push_back({.k = memory[memory.size() - 2].data(), .v = memory.back().data()});
    }
    std::vector<float> key = random_floats(width, static_cast<unsigned>(position));
    const std::vector<float> value = random_floats(width, static_cast<unsigned>(position) + 9999);
    ops.kernels().store_kv(shape, key.data(), value.data(), blocks.back(),
                           position % kernels::kKeyBlock);
  }
  const std::int64_t q_width = shape.heads * shape.head_dim;
  const std::vector<float> q = random_floats(tokens * q_width, 5);
  std::vector<float> out(q.size());
  const kernels::AttentionSegment segment{.q = q.data(),
                                          .out = out.data(),
                                          .tokens = tokens,
                                          .first_position = kContext - tokens,
                                          .kv_length = kContext,
                                          .blocks = blocks};
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
  for (const DType type : {DType::kQ4_1, DType::kQ5_0, DType::kQ8_0, DType::kQ4_K, DType::kQ6_K}) {
    for (const std::int64_t tokens : {1, 8, 64}) {
      out.push_back({fmt::format("product {} x {}", tensor::traits(type).name, tokens),
                     [=](Ops& ops) { product(ops, type, tokens); }});
    }
  }
  out.push_back({"quantize", quantize});
  out.push_back({"attention x 1", [](Ops& ops) { attention(ops, 1); }});
  out.push_back({"attention x 64", [](Ops& ops) { attention(ops, 64); }});
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
