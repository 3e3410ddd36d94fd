#include "kernels/activations.h"

#include <algorithm>
#include <new>

namespace edgewise::kernels {

namespace {

template <typename T>
T* allocate(std::int64_t count) {
  const std::size_t bytes = (static_cast<std::size_t>(count) * sizeof(T) + 63) / 64 * 64;
  void* p = std::aligned_alloc(64, std::max<std::size_t>(bytes, 64));
  if (p == nullptr) {
    throw std::bad_alloc();
  }
  return static_cast<T*>(p);
}

}  // namespace

void ActivationBuffer::resize(std::int64_t rows, std::int64_t cols) {
  rows_ = rows;
  cols_ = cols;
  const std::int64_t blocks_cols = (cols + kBlock - 1) / kBlock * kBlock;
  const std::int64_t want = rows * blocks_cols;
  if (want <= capacity_) {
    return;
  }
  capacity_ = want;
  values_.reset(allocate<float>(want));
  blocks_.reset(allocate<CodeBlock>(want / kBlock));
}

Activations ActivationBuffer::view() const {
  return {rows_, cols_, values_.get(), blocks_.get()};
}

}  // namespace edgewise::kernels
