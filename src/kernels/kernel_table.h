// One instruction set's kernels as plain function pointers: one indirect call per matrix panel range or row,
// none per element. The fastest table that the machine supports is chosen at start; EDGEWISE_ISA forces one.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

#include "base/result.h"
#include "kernels/activations.h"
#include "kernels/kv_type.h"
#include "kernels/packed.h"

namespace edgewise::kernels {

inline constexpr std::int64_t kAttentionTileRows =
    128;  // most (token, query head) rows of one task
inline constexpr std::int64_t kKeyBlock =
    64;  // positions in one KV block; the unit of attention's arithmetic

// One layer's share of one block of 64 positions: 16-bit floats, or (kQ8) int8 codes with scales.
//   k: [K heads][4 panels][D][16 positions]   v: [K heads][64 positions][Dv]   scales: [K heads][64 positions]
struct KvBlock {
  KvType type = KvType::kF16;
  void* k = nullptr;
  void* v = nullptr;
  float* k_scales = nullptr;  // kQ8 only
  float* v_scales = nullptr;

  std::uint16_t* k_halves() const { return static_cast<std::uint16_t*>(k); }

  std::uint16_t* v_halves() const { return static_cast<std::uint16_t*>(v); }

  std::int8_t* k_codes() const { return static_cast<std::int8_t*>(k); }

  std::int8_t* v_codes() const { return static_cast<std::int8_t*>(v); }
};

struct AttentionShape {
  std::int64_t heads = 0;      // H
  std::int64_t kv_heads = 0;   // K; H is a multiple of K
  std::int64_t head_dim = 0;   // D, a multiple of 16
  std::int64_t value_dim = 0;  // Dv, a multiple of 16
  float scale = 1.0F;          // of q . k
  float softcap = 0.0F;        // 0: none; else s = softcap * tanh(s / softcap)
  std::int64_t window =
      0;               // 0: none; else a token sees itself and the window-1 positions before it
  bool causal = true;  // false: every token sees all kv_length positions
};

enum class RopeStyle { kNorm, kNeox };  // pairs (2i, 2i+1) / (i, i + n/2)

// One query tile of one KV head against a range of key blocks; see generic/attention-inl.h.
struct AttentionTask {
  const AttentionShape* shape = nullptr;
  const float* q = nullptr;
  float* out = nullptr;
  std::int64_t q_stride = 0;
  std::int64_t out_stride = 0;
  std::int64_t first_position = 0;  // of token 0
  std::int64_t kv_length = 0;
  const KvBlock* blocks = nullptr;
  std::int64_t kv_head = 0;
  std::int64_t token_begin = 0;
  std::int64_t token_end = 0;
  std::int64_t block_begin = 0;
  std::int64_t block_end = 0;
  // nullptr: merge all blocks and write out. Else where the blocks' results go, one after another, each of
  // attention_partial_floats(): maxima and sums of the rows, padded to 16, then [rows][Dv].
  float* partials = nullptr;
  std::byte* scratch = nullptr;  // attention_scratch_bytes()
};

constexpr std::int64_t attention_partial_floats(std::int64_t rows, std::int64_t value_dim) {
  return (rows + 15) / 16 * 32 + rows * value_dim;
}

constexpr std::int64_t attention_scratch_bytes(const AttentionShape& shape) {
  const std::int64_t wider = shape.head_dim > shape.value_dim ? shape.head_dim : shape.value_dim;
  return 4 * (kKeyBlock * wider +
              kAttentionTileRows * (kKeyBlock + shape.head_dim + shape.value_dim + 8));
}

// What the first pass of a shortlist finds (shortlist.h). Padding rows have -infinity.
struct PlaneScores {
  float* score = nullptr;  // [panels * 16]
  float* upper = nullptr;  // [panels * 16] the exact product is no larger
  float* best = nullptr;   // [panels] highest score; NaN if an upper bound is not finite
  float* most = nullptr;   // [panels] highest upper bound; NaN likewise
};

struct KernelTable {
  std::string_view
      name;  // "portable", "avx2", "avxvnni", "avx512", "amx", "neon", "dotprod", "i8mm"

  // One row of `cols` values (a multiple of 32).
  void (*quantize_row)(const float* x, std::int64_t cols, CodeBlock* out);
  // Rows of the given panels for all tokens of x. scratch: matmul_scratch_bytes(cols).
  void (*matmul)(const PackedMatrix& w,
                 std::int64_t panel_begin,
                 std::int64_t panel_end,
                 const Activations& x,
                 float* y,
                 std::int64_t y_stride,
                 std::byte* scratch);
  // Of a matrix in two planes, for a row and what its codes left over (x has both): bounds from the high plane.
  void (*scan_planes)(const PackedMatrix& w,
                      std::int64_t panel_begin,
                      std::int64_t panel_end,
                      const Activations& x,
                      const float* slack,
                      const PlaneScores& out);
  // What the low plane adds to a row's score, up to rounding.
  float (*low_part)(const PackedMatrix& w, std::int64_t row, const Activations& x);
  void (*attention)(const AttentionTask& task);
  // Merges the task's partials of [block_begin, block_end) in ascending order and writes out.
  void (*attention_merge)(const AttentionTask& task);
  // k, v: [K heads, D] and [K heads, Dv] of one token into slot `offset` of a block. k is scratch afterwards.
  void (*store_kv)(const AttentionShape& shape,
                   float* k,
                   const float* v,
                   const KvBlock& block,
                   std::int64_t offset);

  // out = x / sqrt(mean(x^2) + eps) * weight; weight nullptr: 1. out may be x.
  void (*rms_norm)(const float* x, const float* weight, float eps, std::int64_t n, float* out);
  void (*layer_norm)(const float* x,
                     const float* weight,
                     const float* bias,
                     float eps,
                     std::int64_t n,
                     float* out);
  void (*silu_mul)(const float* gate,
                   const float* up,
                   std::int64_t n,
                   float* out);  // silu(gate) * up
  void (*gelu_mul)(const float* gate,
                   const float* up,
                   std::int64_t n,
                   float* out);  // gelu_tanh(gate) * up; up nullptr: 1
  void (*gelu_erf_mul)(const float* gate,
                       const float* up,
                       std::int64_t n,
                       float* out);                       // ... by its definition
  void (*add)(const float* x, std::int64_t n, float* y);  // y += x
  void (*add_scaled)(const float* x,
                     float scale,
                     std::int64_t n,
                     float* y);                           // y = fma(x, scale, y)
  void (*scale)(float factor, std::int64_t n, float* y);  // y *= factor
  void (*softcap)(float cap, std::int64_t n, float* y);   // y = cap * tanh(y / cap)
  void (*softmax)(std::int64_t n, float* y);
  // Rotates the first `n_rot` of each head's D values. cos, sin: [n_rot / 2] for this position.
  void (*rope)(RopeStyle style,
               float* x,
               std::int64_t heads,
               std::int64_t head_dim,
               std::int64_t n_rot,
               const float* cos,
               const float* sin);
};

std::int64_t matmul_scratch_bytes(std::int64_t cols);

// Tables that this machine can run, slowest first; portable is always there.
std::span<const KernelTable* const> supported_tables();
// The fastest, or the one that EDGEWISE_ISA names; an unknown or unsupported name is an error that lists the choices.
Result<const KernelTable*> select_table();

}  // namespace edgewise::kernels
