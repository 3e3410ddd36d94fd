// Activation rows as the matrix products take them: int8 codes with one float scale per 32 columns, and the
// float values themselves for float weights.
#pragma once

#include <cstdint>
#include <cstdlib>
#include <memory>

namespace edgewise::kernels {

// T rows of K columns. Pointers are valid while the buffer that made the view is neither resized nor destroyed.
struct Activations {
  std::int64_t rows = 0;
  std::int64_t cols = 0;
  const float* values = nullptr;            // [T, K]
  const std::int8_t* codes = nullptr;       // [T, K]
  const float* scales = nullptr;            // [T, K/32]  value ~ code * scale
  const float* sums = nullptr;              // [T, K/32]  scale * (sum of the block's codes)
  const std::int16_t* half_sums = nullptr;  // [T, K/16]  sum of the codes of each half block
};

// Owns the storage behind an Activations view. Storage only grows; contents are lost on growth.
class ActivationBuffer {
 public:
  void resize(std::int64_t rows,
              std::int64_t cols);  // cols: a multiple of 32, or only `values` is usable

  float* values() { return values_.get(); }

  std::int8_t* codes() { return codes_.get(); }

  float* scales() { return scales_.get(); }

  float* sums() { return sums_.get(); }

  std::int16_t* half_sums() { return half_sums_.get(); }

  Activations view() const;

 private:
  struct Free {
    void operator()(void* p) const { std::free(p); }
  };

  template <typename T>
  using Array = std::unique_ptr<T[], Free>;
  std::int64_t rows_ = 0;
  std::int64_t cols_ = 0;
  std::int64_t capacity_ = 0;
  Array<float> values_;
  Array<std::int8_t> codes_;
  Array<float> scales_;
  Array<float> sums_;
  Array<std::int16_t> half_sums_;
};

}  // namespace edgewise::kernels
