// Activation rows as the matrix products take them: int8 codes with one float scale per 32 columns, and the
// float values themselves for float weights.
#pragma once

#include <cstdint>

#include "kernels/packed.h"
#include "platform/aligned_memory.h"

namespace edgewise::kernels {

// 32 columns of a row: value ~ code * scale. All that a product needs of them lies together, so that a tile of tokens is
// one stream of memory a token, and rows are no power of two apart.
struct CodeBlock {
  std::int8_t codes[kBlock];
  float scale;
  float sum;  // scale * (sum of the codes)
  // What a kernel starts its integer sums from when the weights' codes are stored with a bias of 16 or 32: a broadcast from
  // memory is free where one out of an integer register is not.
  float float_start;   // kFloatBase - 32 * half_sum(0): integers added to its bits are added to it
  std::int32_t start;  // -16 * (sum of the codes)
  std::int32_t half_starts[2];  // -32 * half_sum

  // Of the codes of either half.
  int half_sum(int half) const { return -(half_starts[half] >> 5); }
};

// Floats from 2^23 to 2^24 are the integers, their bits one apart.
inline constexpr float kFloatBase = 1.5F * (1 << 23);

// T rows of K columns. Pointers are valid while the buffer that made the view is neither resized nor destroyed.
struct Activations {
  std::int64_t rows = 0;
  std::int64_t cols = 0;
  const float* values = nullptr;      // [T, K]
  const CodeBlock* blocks = nullptr;  // [T, K/32]

  const CodeBlock* row(std::int64_t t) const { return blocks + t * (cols / kBlock); }

  // Rows [begin, end).
  Activations part(std::int64_t begin, std::int64_t end) const {
    return {end - begin, cols, values + begin * cols, row(begin)};
  }
};

// Owns the storage behind an Activations view. Storage only grows; contents are lost on growth.
class ActivationBuffer {
 public:
  void resize(std::int64_t rows,
              std::int64_t cols);  // cols: a multiple of 32, or only `values` is usable

  float* values() { return values_.get(); }

  CodeBlock* row(std::int64_t t) { return blocks_.get() + t * (cols_ / kBlock); }

  Activations view() const;

 private:
  std::int64_t rows_ = 0;
  std::int64_t cols_ = 0;
  std::int64_t capacity_ = 0;
  platform::AlignedArray<float> values_;
  platform::AlignedArray<CodeBlock> blocks_;
};

}  // namespace edgewise::kernels
