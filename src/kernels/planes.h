// A Q8_0 matrix in two planes, so that a product's cheap approximation reads half of it (shortlist.h). No bytes are
// added: the planes together have the file's size.
//
//   high  panels of 16 rows: [blocks][16] f16 scales, then [blocks][256] high nibbles of the biased codes, laid out as
//         packed_layout.h's nibbles
//   low   groups of 4 rows: [blocks][4 words][4 rows], a word being 4 bytes: byte j of a row's 16 in a block has the low
//         nibble of code j, and of code j + 16 above it
//
// The shortlist reads single rows of the low plane, so not 16 of them lie together; 4 rows cost it no more than the cache
// lines of one, nearly, and make a line of what a product reads. merge_panel() makes the ordinary panel of both planes.
#pragma once

#include "kernels/packed.h"
#include "kernels/packed_layout.h"

namespace edgewise::kernels {

inline constexpr std::int64_t kHighBlockBytes = 32 + 256;  // of 16 rows: scales and nibbles
inline constexpr std::int64_t kLowBlockBytes = 16;         // of one row
inline constexpr std::int64_t kMergedBlockBytes = 32 + 512;

// Where word `word` of a row's block lies in the low plane of a matrix with that many blocks a row.
constexpr std::int64_t low_word_offset(std::int64_t row,
                                       std::int64_t block,
                                       std::int64_t word,
                                       std::int64_t blocks) {
  constexpr std::int64_t kRows = 4, kWord = 4;
  return (row / kRows * blocks + block) * kRows * kLowBlockBytes +
         (word * kRows + row % kRows) * kWord;
}

constexpr bool can_split(tensor::DType type) {
  return type == tensor::DType::kQ8_0;
}

constexpr std::int64_t high_panel_bytes(std::int64_t cols) {
  return cols / kBlock * kHighBlockBytes;
}

// One panel of both planes, read from front to back.
struct PlanesPanel {
  const std::byte* scales;
  const std::byte* high;
  const std::byte* low;
  std::int64_t blocks;

  PlanesPanel(const PackedMatrix& w, std::int64_t panel)
      : scales(w.data + panel * high_panel_bytes(w.cols)),
        high(scales + w.cols / kBlock * 32),
        low(w.low + panel * kPanelRows * (w.cols / kBlock * kLowBlockBytes)),
        blocks(w.cols / kBlock) {}

  // What follows block `b` at the usual distance.
  void prefetch(std::int64_t b) const {
    prefetch_ahead(low + b * 256, 256);
    prefetch_ahead(high + b * 256, 256);
  }
};

// The matrix whose planes begin at `data`, packed_bytes() long.
PackedMatrix split_matrix(tensor::DType type,
                          std::int64_t rows,
                          std::int64_t cols,
                          const std::byte* data);

// As pack_panels(), in two planes. Requires can_split(type).
void pack_planes(tensor::DType type,
                 std::span<const std::byte> raw,
                 std::int64_t rows,
                 std::int64_t cols,
                 std::int64_t panel_begin,
                 std::int64_t panel_end,
                 std::byte* out);

}  // namespace edgewise::kernels
