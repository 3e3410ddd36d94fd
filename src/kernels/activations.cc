#include "kernels/activations.h"

#include <algorithm>
#include <new>

#include "kernels/packed.h"

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
  codes_.reset(allocate<std::int8_t>(want));
  scales_.reset(allocate<float>(want / kBlock));
  sums_.reset(allocate<float>(want / kBlock));
  half_sums_.reset(allocate<std::int16_t>(want / 16));
}

Activations ActivationBuffer::view() const {
  return {rows_, cols_, values_.get(), codes_.get(), scales_.get(), sums_.get(), half_sums_.get()};
}

}  // namespace edgewise::kernels
