// Rows of floats in one aligned allocation that only grows; contents are lost on growth. Also how matrices are
// multiplied: activations are quantized once for all products that need it.
#pragma once

#include <cstdint>
#include <span>

#include "kernels/ops.h"
#include "platform/aligned_memory.h"

namespace edgewise::model {

class RowBuffer {
 public:
  void resize(std::int64_t rows, std::int64_t width);

  std::int64_t width() const { return width_; }

  // From row to row, in floats: whole cache lines, an odd number of them, since rows a power of two apart would meet
  // in a few sets of the cache.
  std::int64_t stride() const { return stride_; }

  float* row(std::int64_t index) const { return values_.get() + index * stride_; }

  std::span<float> view(std::int64_t index) const {
    return {row(index), static_cast<std::size_t>(width_)};
  }

 private:
  platform::AlignedArray<float> values_;
  std::int64_t capacity_ = 0;
  std::int64_t width_ = 0;
  std::int64_t stride_ = 0;
};

// Whether a product with this type takes int8 codes (block formats) or the values (F32, F16, BF16).
bool takes_codes(tensor::DType type);

// Fills x's codes if a job needs them, then runs the jobs.
void multiply(kernels::Ops& ops,
              kernels::ActivationBuffer& x,
              std::span<const kernels::MatmulJob> jobs);

}  // namespace edgewise::model
