// The vector of 16 floats (see generic/elementwise-inl.h) as four NEON registers, and what is written over it. Included by
// each NEON table inside its own namespace and target region; no include guard on purpose.

struct V {
  float32x4_t q[4];

  template <typename F>
  static V each(F f) {
    return {{f(0), f(1), f(2), f(3)}};
  }

  static V load(const float* p) {
    return each([&](int i) { return vld1q_f32(p + 4 * i); });
  }

  static V set1(float x) {
    return each([&](int) { return vdupq_n_f32(x); });
  }

  static V load_f16(const std::uint16_t* p) {
    return each([&](int i) { return vcvt_f32_f16(vreinterpret_f16_u16(vld1_u16(p + 4 * i))); });
  }

  static V load_bf16(const std::uint16_t* p) {
    return each([&](int i) { return vreinterpretq_f32_u32(vshll_n_u16(vld1_u16(p + 4 * i), 16)); });
  }

  static V load_codes(const std::int8_t* p) {
    const int8x16_t codes = vld1q_s8(p);
    const int16x8_t words[2] = {vmovl_s8(vget_low_s8(codes)), vmovl_s8(vget_high_s8(codes))};
    const auto four = [](int16x4_t x) { return vcvtq_f32_s32(vmovl_s16(x)); };
    return {{four(vget_low_s16(words[0])), four(vget_high_s16(words[0])),
             four(vget_low_s16(words[1])), four(vget_high_s16(words[1]))}};
  }

  static V add(V a, V b) {
    return each([&](int i) { return vaddq_f32(a.q[i], b.q[i]); });
  }

  static V sub(V a, V b) {
    return each([&](int i) { return vsubq_f32(a.q[i], b.q[i]); });
  }

  static V mul(V a, V b) {
    return each([&](int i) { return vmulq_f32(a.q[i], b.q[i]); });
  }

  static V div(V a, V b) {
    return each([&](int i) { return vdivq_f32(a.q[i], b.q[i]); });
  }

  static V fma(V a, V b, V c) {
    return each([&](int i) { return vfmaq_f32(c.q[i], a.q[i], b.q[i]); });
  }

  // Not vmaxq and vminq: those return what is not a number wherever it stands.
  static float32x4_t larger(float32x4_t a, float32x4_t b) {
    return vbslq_f32(vcgtq_f32(a, b), a, b);
  }

  static V max(V a, V b) {
    return each([&](int i) { return larger(a.q[i], b.q[i]); });
  }

  static V min(V a, V b) {
    return each([&](int i) { return vbslq_f32(vcltq_f32(a.q[i], b.q[i]), a.q[i], b.q[i]); });
  }

  static V abs(V a) {
    return each([&](int i) { return vabsq_f32(a.q[i]); });
  }

  static V zero_where_less(V x, V bound, V value) {
    return each([&](int i) {
      return vreinterpretq_f32_u32(
          vbicq_u32(vreinterpretq_u32_f32(value.q[i]), vcltq_f32(x.q[i], bound.q[i])));
    });
  }

  static V times_exp2(V p, V t) {
    return each([&](int i) {
      const uint32x4_t exponent = vshlq_n_u32(vreinterpretq_u32_f32(t.q[i]), 23);
      return vmulq_f32(p.q[i], vreinterpretq_f32_u32(vaddq_u32(exponent, vdupq_n_u32(0x3f800000))));
    });
  }

  void store(float* p) const {
    for (int i = 0; i < 4; ++i) {
      vst1q_f32(p + 4 * i, q[i]);
    }
  }

  void store_f16(std::uint16_t* p) const {
    for (int i = 0; i < 4; ++i) {
      vst1_u16(p + 4 * i, vreinterpret_u16_f16(vcvt_f16_f32(q[i])));
    }
  }

  int store_codes(std::int8_t* p) const {
    int16x4_t words[4];
    for (int i = 0; i < 4; ++i) {
      // The conversion saturates; the definition has the least integer for what is beyond 32 bits or not a number.
      const int32x4_t rounded =
          vbslq_s32(vcltq_f32(q[i], vdupq_n_f32(2147483648.0F)), vcvtnq_s32_f32(q[i]),
                    vdupq_n_s32(std::numeric_limits<std::int32_t>::min()));
      words[i] = vqmovn_s32(rounded);
    }
    const int8x16_t saturated = vcombine_s8(vqmovn_s16(vcombine_s16(words[0], words[1])),
                                            vqmovn_s16(vcombine_s16(words[2], words[3])));
    const int8x16_t codes = vmaxq_s8(saturated, vdupq_n_s8(-127));
    vst1q_s8(p, codes);
    return vaddlvq_s8(codes);
  }

  template <int kStride>
  V exchanged() const {
    return each([&](int i) {
      if constexpr (kStride == 1) {
        return vrev64q_f32(q[i]);
      } else if constexpr (kStride == 2) {
        return vextq_f32(q[i], q[i], 2);
      } else {
        return q[i ^ (kStride / 4)];
      }
    });
  }

  float sum() const {
    const float32x4_t s = vaddq_f32(vaddq_f32(q[0], q[2]), vaddq_f32(q[1], q[3]));
    const float32x2_t pair = vadd_f32(vget_low_f32(s), vget_high_f32(s));
    return vget_lane_f32(pair, 0) + vget_lane_f32(pair, 1);
  }

  float highest() const {
    float s[4];
    vst1q_f32(s, larger(larger(q[0], q[2]), larger(q[1], q[3])));
    const float even = s[0] > s[2] ? s[0] : s[2];
    const float odd = s[1] > s[3] ? s[1] : s[3];
    return even > odd ? even : odd;
  }
};

// 6 rows x 1 vector (4 registers) = 24 accumulators of 32 registers; one and two rows take two vectors.
constexpr int kTileRows = 6;

constexpr int tile_vectors(int rows) {
  return rows <= 2 ? 2 : 1;
}

#include "kernels/generic/elementwise-inl.h"
#include "kernels/generic/quantize-inl.h"

// After the elementwise functions, which it uses.
#include "kernels/generic/attention-inl.h"
#include "kernels/generic/kv_store-inl.h"
