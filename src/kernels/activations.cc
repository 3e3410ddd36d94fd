#include "kernels/activations.h"

namespace edgewise::kernels {

void ActivationBuffer::resize(std::int64_t rows, std::int64_t cols) {
  rows_ = rows;
  cols_ = cols;
  const std::int64_t blocks_cols = (cols + kBlock - 1) / kBlock * kBlock;
  const std::int64_t want = rows * blocks_cols;
  if (want <= capacity_) {
    return;
  }
  capacity_ = want;
  values_.reset();  // contents are lost anyway
  blocks_.reset();
  values_ = platform::aligned_array<float>(want);
  blocks_ = platform::aligned_array<CodeBlock>(want / kBlock);
}

Activations ActivationBuffer::view() const {
  return {rows_, cols_, values_.get(), blocks_.get()};
}

}  // namespace edgewise::kernels
