// Weights in the layout that the kernels stream: panels of 16 output rows, one row a SIMD lane.
//
// A panel holds all columns of 16 consecutive rows, K ascending. Codes are stored unsigned and biased, in
// groups of 4 consecutive k per row: 16 rows x 4 k = 64 bytes, which is one AVX-512 register, two AVX2
// registers, four NEON registers, or one row of an AMX tile. Packed size equals file size (rows are padded to
// 16). docs/kernels.md draws the layouts. Source of the block formats: ggml-common.h.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "tensor/dtype.h"

namespace edgewise::kernels {

inline constexpr std::int64_t kPanelRows = 16;
inline constexpr std::int64_t kBlock = 32;  // columns that share one activation scale

// Does not own the panels.
struct PackedMatrix {
  tensor::DType type = tensor::DType::kF32;
  std::int64_t rows = 0;  // outputs
  std::int64_t cols = 0;  // inputs (K)
  const std::byte* data = nullptr;
  const std::byte* low =
      nullptr;  // not nullptr: in two planes (planes.h), of which `data` is the high one

  std::int64_t panels() const { return (rows + kPanelRows - 1) / kPanelRows; }
};

std::int64_t panel_bytes(tensor::DType type, std::int64_t cols);
std::int64_t packed_bytes(tensor::DType type, std::int64_t rows, std::int64_t cols);

// Rows [begin, end) of a matrix that is not in planes; `begin` is a multiple of kPanelRows.
PackedMatrix rows_of(const PackedMatrix& whole, std::int64_t begin, std::int64_t end);

// Packs panels [panel_begin, panel_end) of a row-major GGUF tensor `raw` ([rows][cols]) into `out` (the start
// of the whole packed matrix). Different panels may be packed by different threads.
void pack_panels(tensor::DType type,
                 std::span<const std::byte> raw,
                 std::int64_t rows,
                 std::int64_t cols,
                 std::int64_t panel_begin,
                 std::int64_t panel_end,
                 std::byte* out);

}  // namespace edgewise::kernels
