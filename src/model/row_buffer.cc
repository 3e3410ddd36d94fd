#include "model/row_buffer.h"

#include <algorithm>

namespace edgewise::model {

void RowBuffer::resize(std::int64_t rows, std::int64_t width) {
  constexpr std::int64_t kLine = 16;  // floats
  width_ = width;
  stride_ = ((width + kLine - 1) / kLine | 1) * kLine;
  if (rows * stride_ > capacity_) {
    capacity_ = rows * stride_;
    values_.reset();  // contents are lost anyway
    values_ = platform::aligned_array<float>(capacity_);
  }
}

bool takes_codes(tensor::DType type) {
  return type != tensor::DType::kF32 && type != tensor::DType::kF16 && type != tensor::DType::kBF16;
}

void multiply(kernels::Ops& ops,
              kernels::ActivationBuffer& x,
              std::span<const kernels::MatmulJob> jobs) {
  if (std::ranges::any_of(
          jobs, [](const kernels::MatmulJob& job) { return takes_codes(job.weights->type); })) {
    ops.quantize(x);
  }
  ops.matmul(jobs, x.view());
}

}  // namespace edgewise::model
