#include "kernels/planes.h"

#include <algorithm>
#include <cstring>

#include "base/check.h"

namespace edgewise::kernels {
namespace {

constexpr std::int64_t kFileBlock = 2 + kBlock;  // of Q8_0: f16 scale, signed codes

std::byte high_nibble(std::byte code) {
  return code >> 4;
}

std::byte low_nibble(std::byte code) {
  return code & std::byte{15};
}

// `low`: the low plane of a matrix of `blocks` a row.
void pack_block(const std::byte* file,
                std::int64_t row,
                std::int64_t block,
                std::int64_t blocks,
                std::byte* panel,
                std::byte* low) {
  const std::int64_t lane = row % kPanelRows;
  std::memcpy(panel + block * 32 + lane * 2, file, 2);
  std::byte* high = panel + blocks * 32 + block * 256;
  for (std::int64_t k = 0; k < kBlock / 2; ++k) {
    constexpr std::byte kBias{0x80};  // code + 128
    const std::byte first = file[2 + k] ^ kBias;
    const std::byte second = file[2 + kBlock / 2 + k] ^ kBias;
    high[k / 4 * 64 + lane * 4 + k % 4] = high_nibble(first) | high_nibble(second) << 4;
    low[low_word_offset(row, block, k / 4, blocks) + k % 4] = low_nibble(first) | low_nibble(second)
                                                                                      << 4;
  }
}

}  // namespace

PackedMatrix split_matrix(tensor::DType type,
                          std::int64_t rows,
                          std::int64_t cols,
                          const std::byte* data) {
  PackedMatrix matrix{type, rows, cols, data};
  matrix.low = data + matrix.panels() * high_panel_bytes(cols);
  return matrix;
}

void pack_planes(tensor::DType type,
                 std::span<const std::byte> raw,
                 std::int64_t rows,
                 std::int64_t cols,
                 std::int64_t panel_begin,
                 std::int64_t panel_end,
                 std::byte* out) {
  CHECK(can_split(type) && std::ssize(raw) == tensor::storage_bytes(type, cols) * rows);
  const std::int64_t blocks = cols / kBlock;
  std::byte* low_plane = out + (rows + kPanelRows - 1) / kPanelRows * high_panel_bytes(cols);
  for (std::int64_t panel = panel_begin; panel < panel_end; ++panel) {
    std::byte* high = out + panel * high_panel_bytes(cols);
    const std::int64_t low_bytes = kPanelRows * blocks * kLowBlockBytes;
    std::memset(high, 0, static_cast<std::size_t>(high_panel_bytes(cols)));
    std::memset(low_plane + panel * low_bytes, 0, static_cast<std::size_t>(low_bytes));
    const std::int64_t here = std::min(kPanelRows, rows - panel * kPanelRows);
    for (std::int64_t row = panel * kPanelRows; row < panel * kPanelRows + here; ++row) {
      const std::byte* file = raw.data() + row * blocks * kFileBlock;
      for (std::int64_t b = 0; b < blocks; ++b) {
        pack_block(file + b * kFileBlock, row, b, blocks, high, low_plane);
      }
    }
  }
}

}  // namespace edgewise::kernels
