#include "model/stored_position.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "tensor/dtype.h"

namespace edgewise::model {
namespace {

// The Walsh-Hadamard transform of each `x.size() & -x.size()` values.
void transform(std::span<double> x) {
  const std::size_t size = x.size() & -x.size();
  for (std::size_t stride = 1; stride < size; stride *= 2) {
    for (std::size_t i = 0; i < x.size(); ++i) {
      if ((i & stride) == 0) {
        const double a = x[i];
        const double b = x[i + stride];
        x[i] = a + b;
        x[i + stride] = a - b;
      }
    }
  }
}

}  // namespace

void StoredPosition::set_key(std::int64_t head, std::span<const double> from) const {
  std::vector<double> key(from.begin(), from.end());
  if (block_.type == kernels::KvType::kQ8) {
    transform(key);
  }
  set(key, block_.k, block_.k_scales, key_place(head), scale_place(head));
}

void StoredPosition::set_value(std::int64_t head, std::span<const double> from) const {
  set(from, block_.v, block_.v_scales, value_place(head), scale_place(head));
}

void StoredPosition::get_key(std::int64_t head, std::span<double> to) const {
  get(block_.k, block_.k_scales, key_place(head), scale_place(head), to);
  if (block_.type == kernels::KvType::kQ8) {  // the transform is its own inverse, times its size
    transform(to);
    for (double& x : to) {
      x /= static_cast<double>(key_dim_ & -key_dim_);
    }
  }
}

void StoredPosition::get_value(std::int64_t head, std::span<double> to) const {
  get(block_.v, block_.v_scales, value_place(head), scale_place(head), to);
}

// [K heads][4 panels][D][16 positions]
StoredPosition::Place StoredPosition::key_place(std::int64_t head) const {
  return {(head * 4 + slot_ / 16) * key_dim_ * 16 + slot_ % 16, 16};
}

// [K heads][64 positions][Dv]
StoredPosition::Place StoredPosition::value_place(std::int64_t head) const {
  return {(head * kernels::kKeyBlock + slot_) * value_dim_, 1};
}

// [K heads][64 positions]
std::int64_t StoredPosition::scale_place(std::int64_t head) const {
  return head * kernels::kKeyBlock + slot_;
}

void StoredPosition::set(std::span<const double> from,
                         void* to,
                         float* scales,
                         Place place,
                         std::int64_t scale_at) const {
  if (block_.type == kernels::KvType::kF16) {
    for (std::size_t i = 0; i < from.size(); ++i) {
      static_cast<std::uint16_t*>(to)[place[i]] = tensor::f32_to_f16(static_cast<float>(from[i]));
    }
    return;
  }
  double most = 0.0;
  for (const double x : from) {
    most = std::max(most, std::abs(x));
  }
  scales[scale_at] = static_cast<float>(most / 127.0);
  for (std::size_t i = 0; i < from.size(); ++i) {
    static_cast<std::int8_t*>(to)[place[i]] =
        static_cast<std::int8_t>(most > 0.0 ? std::nearbyint(from[i] * 127.0 / most) : 0.0);
  }
}

void StoredPosition::get(const void* from,
                         const float* scales,
                         Place place,
                         std::int64_t scale_at,
                         std::span<double> to) const {
  for (std::size_t i = 0; i < to.size(); ++i) {
    to[i] = block_.type == kernels::KvType::kF16
                ? static_cast<double>(
                      tensor::f16_to_f32(static_cast<const std::uint16_t*>(from)[place[i]]))
                : static_cast<double>(static_cast<const std::int8_t*>(from)[place[i]]) *
                      static_cast<double>(scales[scale_at]);
  }
}

}  // namespace edgewise::model
