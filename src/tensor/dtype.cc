#include "tensor/dtype.h"

#include <array>
#include <cmath>
#include <cstring>

#include "base/check.h"

namespace edgewise::tensor {
namespace {

using enum DType;

constexpr std::array<DTypeTraits, 15> kTraits = {{
    {kF32, "F32", 1, 4},
    {kF16, "F16", 1, 2},
    {kQ4_0, "Q4_0", 32, 18},
    {kQ4_1, "Q4_1", 32, 20},
    {kQ5_0, "Q5_0", 32, 22},
    {kQ5_1, "Q5_1", 32, 24},
    {kQ8_0, "Q8_0", 32, 34},
    {kQ2_K, "Q2_K", 256, 84},
    {kQ3_K, "Q3_K", 256, 110},
    {kQ4_K, "Q4_K", 256, 144},
    {kQ5_K, "Q5_K", 256, 176},
    {kQ6_K, "Q6_K", 256, 210},
    {kIQ4_NL, "IQ4_NL", 32, 18},
    {kIQ4_XS, "IQ4_XS", 256, 136},
    {kBF16, "BF16", 1, 2},
}};

// The 16 values of the non-linear 4-bit types (ggml-common.h, kvalues_iq4nl).
constexpr int kIq4Values[16] = {-127, -104, -83, -65, -49, -35, -22, -10,
                                1,    13,   25,  38,  53,  69,  89,  113};

using Bytes = const std::uint8_t*;

std::uint16_t u16_at(Bytes p) {
  return static_cast<std::uint16_t>(p[0] | p[1] << 8);
}

float half_at(Bytes p) {
  return f16_to_f32(u16_at(p));
}

unsigned bit_of(Bytes bits, int k) {
  return (static_cast<unsigned>(bits[k / 8]) >> (k % 8)) & 1U;
}

// Nibble of element k in a 32-element block: low halves first.
unsigned nibble_of(Bytes qs, int k) {
  return k < 16 ? qs[k] & 15U : static_cast<unsigned>(qs[k - 16] >> 4);
}

void dequantize_32(DType type, Bytes in, float* out) {
  const float d = half_at(in);
  for (int k = 0; k < 32; ++k) {
    if (type == kQ4_0) {
      out[k] = static_cast<float>(static_cast<int>(nibble_of(in + 2, k)) - 8) * d;
    } else if (type == kQ4_1) {
      out[k] = static_cast<float>(nibble_of(in + 4, k)) * d + half_at(in + 2);
    } else if (type == kQ5_0) {
      out[k] = static_cast<float>(static_cast<int>(nibble_of(in + 6, k) | bit_of(in + 2, k) << 4U) -
                                  16) *
               d;
    } else if (type == kQ5_1) {
      out[k] =
          static_cast<float>(nibble_of(in + 8, k) | bit_of(in + 4, k) << 4U) * d + half_at(in + 2);
    } else if (type == kQ8_0) {
      out[k] = static_cast<float>(static_cast<std::int8_t>(in[2 + k])) * d;
    } else {
      out[k] = d * static_cast<float>(kIq4Values[nibble_of(in + 2, k)]);
    }
  }
}

// 6-bit scale and minimum of 32-element block b (Q4_K, Q5_K).
void scale_min_k4(Bytes s, int b, float& scale, float& min) {
  unsigned sc = 0;
  unsigned mn = 0;
  if (b < 4) {
    sc = s[b] & 63U;
    mn = s[b + 4] & 63U;
  } else {
    sc = (s[b + 4] & 15U) | static_cast<unsigned>(s[b - 4] >> 6) << 4U;
    mn = static_cast<unsigned>(s[b + 4] >> 4) | static_cast<unsigned>(s[b] >> 6) << 4U;
  }
  scale = static_cast<float>(sc);
  min = static_cast<float>(mn);
}

void dequantize_q45_k(DType type, Bytes in, float* out) {
  const float d = half_at(in);
  const float dmin = half_at(in + 2);
  Bytes qh = in + 16;
  Bytes qs = in + (type == kQ5_K ? 48 : 16);
  for (int b = 0; b < 8; ++b) {
    float scale = 0;
    float min = 0;
    scale_min_k4(in + 4, b, scale, min);
    for (int l = 0; l < 32; ++l) {
      unsigned q = (static_cast<unsigned>(qs[b / 2 * 32 + l]) >> (b % 2 * 4)) & 15U;
      if (type == kQ5_K) {
        q |= ((static_cast<unsigned>(qh[l]) >> b) & 1U) << 4U;
      }
      out[b * 32 + l] = d * scale * static_cast<float>(q) - dmin * min;
    }
  }
}

void dequantize_q6_k(Bytes in, float* out) {
  Bytes qh = in + 128;
  Bytes scales = in + 192;
  const float d = half_at(in + 208);
  for (int k = 0; k < 256; ++k) {
    const int half = k / 128;
    const int part = k % 128 / 32;
    const int l = k % 32;
    const unsigned low =
        (static_cast<unsigned>(in[half * 64 + part % 2 * 32 + l]) >> (part / 2 * 4)) & 15U;
    const unsigned high = (static_cast<unsigned>(qh[half * 32 + l]) >> (part * 2)) & 3U;
    const int q = static_cast<int>(low | high << 4U) - 32;
    out[k] =
        d * static_cast<float>(static_cast<std::int8_t>(scales[k / 16])) * static_cast<float>(q);
  }
}

void dequantize_q2_k(Bytes in, float* out) {
  const float d = half_at(in + 80);
  const float dmin = half_at(in + 82);
  for (int k = 0; k < 256; ++k) {
    const unsigned q =
        (static_cast<unsigned>(in[16 + k / 128 * 32 + k % 32]) >> (k % 128 / 32 * 2)) & 3U;
    const unsigned s = in[k / 16];
    out[k] = d * static_cast<float>(s & 15U) * static_cast<float>(q) -
             dmin * static_cast<float>(s >> 4U);
  }
}

void dequantize_q3_k(Bytes in, float* out) {
  Bytes qs = in + 32;
  Bytes s = in + 96;
  const float d = half_at(in + 108);
  for (int k = 0; k < 256; ++k) {
    const int i = k / 16;
    const unsigned low = i < 8 ? s[i] & 15U : static_cast<unsigned>(s[i - 8] >> 4);
    const unsigned high = (static_cast<unsigned>(s[8 + i % 4]) >> (2 * (i / 4))) & 3U;
    const int scale = static_cast<int>(low | high << 4U) - 32;
    const unsigned two =
        (static_cast<unsigned>(qs[k / 128 * 32 + k % 32]) >> (k % 128 / 32 * 2)) & 3U;
    const unsigned bit = (static_cast<unsigned>(in[k % 32]) >> (k / 32)) & 1U;
    out[k] =
        d * static_cast<float>(scale) * static_cast<float>(static_cast<int>(two | bit << 2U) - 4);
  }
}

void dequantize_iq4_xs(Bytes in, float* out) {
  const float d = half_at(in);
  const unsigned high = u16_at(in + 2);
  for (int b = 0; b < 8; ++b) {
    const unsigned low = (static_cast<unsigned>(in[4 + b / 2]) >> (b % 2 * 4)) & 15U;
    const int scale = static_cast<int>(low | ((high >> (2 * b)) & 3U) << 4U) - 32;
    for (int k = 0; k < 32; ++k) {
      out[b * 32 + k] = d * static_cast<float>(scale) *
                        static_cast<float>(kIq4Values[nibble_of(in + 8 + 16 * b, k)]);
    }
  }
}

void dequantize_block(DType type, Bytes in, float* out) {
  switch (type) {
    case kF32:
      return;  // copied as a whole
    case kF16:
      *out = half_at(in);
      return;
    case kBF16:
      *out = bf16_to_f32(u16_at(in));
      return;
    case kQ2_K:
      dequantize_q2_k(in, out);
      return;
    case kQ3_K:
      dequantize_q3_k(in, out);
      return;
    case kQ4_K:
    case kQ5_K:
      dequantize_q45_k(type, in, out);
      return;
    case kQ6_K:
      dequantize_q6_k(in, out);
      return;
    case kIQ4_XS:
      dequantize_iq4_xs(in, out);
      return;
    case kQ4_0:
    case kQ4_1:
    case kQ5_0:
    case kQ5_1:
    case kQ8_0:
    case kIQ4_NL:
      dequantize_32(type, in, out);
      return;
  }
}

}  // namespace

std::span<const DTypeTraits> all_dtypes() {
  return kTraits;
}

std::optional<DType> dtype_from_gguf(std::uint32_t id) {
  for (const DTypeTraits& t : kTraits) {
    if (static_cast<std::uint32_t>(t.type) == id) {
      return t.type;
    }
  }
  return std::nullopt;
}

std::string_view gguf_type_name(std::uint32_t id) {
  // ggml.h, enum ggml_type; removed numbers are empty.
  constexpr std::string_view kNames[] = {
      "F32",     "F16",   "Q4_0",   "Q4_1",  "",      "",       "Q5_0", "Q5_1",    "Q8_0",
      "Q8_1",    "Q2_K",  "Q3_K",   "Q4_K",  "Q5_K",  "Q6_K",   "Q8_K", "IQ2_XXS", "IQ2_XS",
      "IQ3_XXS", "IQ1_S", "IQ4_NL", "IQ3_S", "IQ2_S", "IQ4_XS", "I8",   "I16",     "I32",
      "I64",     "F64",   "IQ1_M",  "BF16",  "",      "",       "",     "TQ1_0",   "TQ2_0",
      "",        "",      "",       "MXFP4", "NVFP4", "Q1_0",   "Q2_0"};
  return id < std::size(kNames) && !kNames[id].empty() ? kNames[id] : "unknown";
}

const DTypeTraits& traits(DType type) {
  for (const DTypeTraits& t : kTraits) {
    if (t.type == type) {
      return t;
    }
  }
  CHECK(false, "type {}", static_cast<std::uint32_t>(type));
}

std::int64_t storage_bytes(DType type, std::int64_t elems) {
  const DTypeTraits& t = traits(type);
  CHECK(elems % t.block_elems == 0, "{} elements of {}", elems, t.name);
  return elems / t.block_elems * t.block_bytes;
}

void dequantize(DType type, const std::byte* data, std::span<float> out) {
  const DTypeTraits& t = traits(type);
  const auto elems = static_cast<std::int64_t>(out.size());
  CHECK(elems % t.block_elems == 0, "{} elements of {}", elems, t.name);
  const auto* in = reinterpret_cast<Bytes>(data);
  if (type == kF32) {
    std::memcpy(out.data(), data, out.size_bytes());
    return;
  }
  for (std::int64_t i = 0; i < elems; i += t.block_elems, in += t.block_bytes) {
    dequantize_block(type, in, out.data() + i);
  }
}

float f16_to_f32(std::uint16_t half) {
  const std::uint32_t sign = static_cast<std::uint32_t>(half & 0x8000U) << 16U;
  const std::uint32_t exponent = (half >> 10U) & 31U;
  const std::uint32_t mantissa = half & 1023U;
  if (exponent == 31) {  // infinity and (quieted, as the hardware does) NaN
    return __builtin_bit_cast(
        float, sign | 0x7f800000U | mantissa << 13U | (mantissa != 0 ? 0x400000U : 0U));
  }
  if (exponent == 0) {  // zero and subnormal: mantissa * 2^-24 is exact
    const float magnitude = static_cast<float>(mantissa) * 0x1p-24F;
    return __builtin_bit_cast(float, __builtin_bit_cast(std::uint32_t, magnitude) | sign);
  }
  return __builtin_bit_cast(float, sign | (exponent + 112U) << 23U | mantissa << 13U);
}

std::uint16_t f32_to_f16(float value) {
  const auto bits = __builtin_bit_cast(std::uint32_t, value);
  const auto sign = static_cast<std::uint16_t>(bits >> 16U & 0x8000U);
  const std::uint32_t magnitude = bits & 0x7fffffffU;
  if (magnitude > 0x7f800000U) {
    return static_cast<std::uint16_t>(sign | 0x7e00U | (magnitude >> 13U & 0x3ffU));
  }
  if (magnitude >= 0x477ff000U) {  // rounds to 65536 or more
    return static_cast<std::uint16_t>(sign | 0x7c00U);
  }
  if (magnitude < 0x38800000U) {  // subnormal result: units of 2^-24; nearbyint rounds half to even
    const float scaled = std::fabs(value) * 0x1p24F;
    return static_cast<std::uint16_t>(sign | static_cast<std::uint32_t>(std::nearbyint(scaled)));
  }
  const std::uint32_t rounded = magnitude + 0xfffU + (magnitude >> 13U & 1U);
  return static_cast<std::uint16_t>(sign | (rounded - 0x38000000U) >> 13U);
}

}  // namespace edgewise::tensor
