// The virtual 16-lane vector in plain C++: what every instruction set's V must equal bit for bit.
#pragma once

#include <bit>
#include <cmath>
#include <cstdint>

#include "tensor/dtype.h"

namespace edgewise::kernels::portable {

struct V {
  float lane[16];

  template <typename F>
  static V make(F f) {
    V v;
    for (int i = 0; i < 16; ++i) {
      v.lane[i] = f(i);
    }
    return v;
  }

  static V load(const float* p) {
    return make([&](int i) { return p[i]; });
  }

  static V set1(float x) {
    return make([&](int) { return x; });
  }

  static V load_f16(const std::uint16_t* p) {
    return make([&](int i) { return tensor::f16_to_f32(p[i]); });
  }

  static V load_codes(const std::int8_t* p) {
    return make([&](int i) { return static_cast<float>(p[i]); });
  }

  static V add(V a, V b) {
    return make([&](int i) { return a.lane[i] + b.lane[i]; });
  }

  static V sub(V a, V b) {
    return make([&](int i) { return a.lane[i] - b.lane[i]; });
  }

  static V mul(V a, V b) {
    return make([&](int i) { return a.lane[i] * b.lane[i]; });
  }

  static V div(V a, V b) {
    return make([&](int i) { return a.lane[i] / b.lane[i]; });
  }

  static V fma(V a, V b, V c) {
    return make([&](int i) { return std::fma(a.lane[i], b.lane[i], c.lane[i]); });
  }

  static V max(V a, V b) {
    return make([&](int i) { return a.lane[i] > b.lane[i] ? a.lane[i] : b.lane[i]; });
  }

  static V min(V a, V b) {
    return make([&](int i) { return a.lane[i] < b.lane[i] ? a.lane[i] : b.lane[i]; });
  }

  static V abs(V a) {
    return make([&](int i) { return std::fabs(a.lane[i]); });
  }

  // 0 where x < bound, else value.
  static V zero_where_less(V x, V bound, V value) {
    return make([&](int i) { return x.lane[i] < bound.lane[i] ? 0.0F : value.lane[i]; });
  }

  // 2^n for t = n + 1.5 * 2^23: the low bits of t, moved into the exponent.
  static V times_exp2(V p, V t) {
    return make([&](int i) {
      return p.lane[i] *
             std::bit_cast<float>((std::bit_cast<std::uint32_t>(t.lane[i]) << 23U) + 0x3f800000U);
    });
  }

  void store(float* p) const {
    for (int i = 0; i < 16; ++i) {
      p[i] = lane[i];
    }
  }

  void store_f16(std::uint16_t* p) const {
    for (int i = 0; i < 16; ++i) {
      p[i] = tensor::f32_to_f16(lane[i]);
    }
  }

  // Rounds to nearest even, saturates to int8 and returns the sum of the codes. NaN becomes -128.
  int store_codes(std::int8_t* p) const {
    int sum = 0;
    for (int i = 0; i < 16; ++i) {
      const bool in_range = lane[i] > -127.5F && lane[i] < 127.5F;
      const int code = in_range ? static_cast<int>(std::nearbyint(lane[i]))
                                : (lane[i] >= 127.5F && lane[i] < 2147483648.0F ? 127 : -127);
      p[i] = static_cast<std::int8_t>(code);
      sum += code;
    }
    return sum;
  }

  // Lane i ^ kStride in lane i.
  template <int kStride>
  V exchanged() const {
    return make([&](int i) { return lane[i ^ kStride]; });
  }

  float sum() const {
    float s[16];
    store(s);
    for (int width = 8; width > 0; width /= 2) {
      for (int i = 0; i < width; ++i) {
        s[i] = s[i] + s[i + width];
      }
    }
    return s[0];
  }

  float highest() const {
    float s[16];
    store(s);
    for (int width = 8; width > 0; width /= 2) {
      for (int i = 0; i < width; ++i) {
        s[i] = s[i] > s[i + width] ? s[i] : s[i + width];
      }
    }
    return s[0];
  }
};

}  // namespace edgewise::kernels::portable
