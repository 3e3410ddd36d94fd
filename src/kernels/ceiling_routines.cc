#include "kernels/ceiling_routines.h"

#include <array>

#include "platform/cpu.h"

#if defined(__x86_64__)
#include <immintrin.h>
#elif defined(__aarch64__)
#include <arm_neon.h>
#endif

#include "kernels/target.h"

namespace edgewise::kernels {
namespace {

constexpr std::int64_t kStride = 256;  // bytes read from one stream before the next

// Makes a value look used, so that the loop that made it is not dropped. Only for single values: an
// array whose address is taken would live in memory instead of registers.
template <typename T>
void keep(const T& value) {
  asm volatile("" : : "r"(&value) : "memory");
}

// GNU vector types compile to whatever the baseline has; used where no better routine exists.
using Floats = float __attribute__((vector_size(16)));
using Words = std::uint64_t __attribute__((vector_size(16)));
using Ints = std::int32_t __attribute__((vector_size(16)));

void read_portable(const char* data, std::int64_t bytes, int streams) {
  std::array<Words, 4> sums{};
  const std::int64_t part = bytes / streams / kStride * kStride;
  for (std::int64_t at = 0; at < part; at += kStride) {
    for (int s = 0; s < streams; ++s) {
      const char* from = data + s * part + at;
      for (std::int64_t line = 0; line < kStride; line += 64) {
        __builtin_prefetch(from + line + kPrefetchAhead);
        const auto* words = reinterpret_cast<const Words*>(from + line);
        for (std::size_t i = 0; i < 4; ++i) {
          sums[i] ^= words[i];
        }
      }
    }
  }
  auto total = sums[0];
  for (std::size_t i = 1; i < sums.size(); ++i) {
    total ^= sums[i];
  }
  keep(total);
}

double int8_portable(std::int64_t rounds) {
  std::array<Ints, 8> sums{};
  Ints a = {3, 3, 3, 3};
  const Ints b = {5, 5, 5, 5};
  for (std::int64_t i = 0; i < rounds; ++i) {
    keep(a);
    for (Ints& sum : sums) {
      sum += a * b;
    }
  }
  auto total = sums[0];
  for (std::size_t i = 1; i < sums.size(); ++i) {
    total += sums[i];
  }
  keep(total);
  return 8.0 * 4.0 * static_cast<double>(rounds);
}

double f32_portable(std::int64_t rounds) {
  std::array<Floats, 8> sums{};
  Floats factor = {0.9999F, 0.9999F, 0.9999F, 0.9999F};
  const Floats step = {1e-5F, 1e-5F, 1e-5F, 1e-5F};
  for (std::int64_t i = 0; i < rounds; ++i) {
    keep(factor);
    for (Floats& sum : sums) {
      sum = sum * factor + step;
    }
  }
  auto total = sums[0];
  for (std::size_t i = 1; i < sums.size(); ++i) {
    total += sums[i];
  }
  keep(total);
  return 8.0 * 4.0 * static_cast<double>(rounds);
}

#if defined(__x86_64__)
TARGET_BEGIN("avx2,fma")

void read_avx2(const char* data, std::int64_t bytes, int streams) {
  __m256i sums[4] = {};
  const std::int64_t part = bytes / streams / kStride * kStride;
  for (std::int64_t at = 0; at < part; at += kStride) {
    for (int s = 0; s < streams; ++s) {
      const char* from = data + s * part + at;
      for (std::int64_t line = 0; line < kStride; line += 64) {
        _mm_prefetch(from + line + kPrefetchAhead, _MM_HINT_T0);
      }
      for (int i = 0; i < kStride / 32; ++i) {
        sums[i % 4] = _mm256_xor_si256(
            sums[i % 4], _mm256_load_si256(reinterpret_cast<const __m256i*>(from) + i));
      }
    }
  }
  auto total = sums[0];
  for (int i = 1; i < 4; ++i) {
    total = _mm256_xor_si256(total, sums[i]);
  }
  keep(total);
}

// Four maddubs (32 products each) are summed in 16 bits before they are widened.
double int8_avx2(std::int64_t rounds) {
  constexpr int kChains = 6;
  __m256i sums[kChains] = {};
  const __m256i left = _mm256_set1_epi8(3);
  __m256i right = _mm256_set1_epi8(5);
  const __m256i ones = _mm256_set1_epi16(1);
  for (std::int64_t i = 0; i < rounds; ++i) {
    for (__m256i& sum : sums) {
      __m256i products = _mm256_setzero_si256();
      for (int deep = 0; deep < 4; ++deep) {
        asm volatile("" : "+x"(right));  // else one product serves all four
        products = _mm256_add_epi16(products, _mm256_maddubs_epi16(left, right));
      }
      sum = _mm256_add_epi32(sum, _mm256_madd_epi16(products, ones));
    }
  }
  auto total = sums[0];
  for (int i = 1; i < kChains; ++i) {
    total = _mm256_add_epi32(total, sums[i]);
  }
  keep(total);
  return kChains * 4.0 * 32.0 * static_cast<double>(rounds);
}

// Twelve chains cover the latency of four cycles on three ports.
double f32_avx2(std::int64_t rounds) {
  constexpr int kChains = 12;
  __m256 sums[kChains];
  for (__m256& sum : sums) {
    sum = _mm256_setzero_ps();
  }
  __m256 factor = _mm256_set1_ps(0.9999F);
  const __m256 step = _mm256_set1_ps(1e-5F);
  for (std::int64_t i = 0; i < rounds; ++i) {
    asm volatile("" : "+x"(factor));
    for (__m256& sum : sums) {
      sum = _mm256_fmadd_ps(sum, factor, step);
    }
  }
  auto total = sums[0];
  for (int i = 1; i < kChains; ++i) {
    total = _mm256_add_ps(total, sums[i]);
  }
  keep(total);
  return kChains * 8.0 * static_cast<double>(rounds);
}

TARGET_END

TARGET_BEGIN("avx2,avxvnni")

double int8_avx_vnni(std::int64_t rounds) {
  constexpr int kChains = 12;
  __m256i sums[kChains] = {};
  const __m256i left = _mm256_set1_epi8(3);
  __m256i right = _mm256_set1_epi8(5);
  for (std::int64_t i = 0; i < rounds; ++i) {
    asm volatile("" : "+x"(right));
    for (__m256i& sum : sums) {
      sum = _mm256_dpbusd_avx_epi32(sum, left, right);
    }
  }
  auto total = sums[0];
  for (int i = 1; i < kChains; ++i) {
    total = _mm256_add_epi32(total, sums[i]);
  }
  keep(total);
  return kChains * 32.0 * static_cast<double>(rounds);
}

TARGET_END

TARGET_BEGIN("avx512f,avx512bw,avx512vnni")

double int8_vnni(std::int64_t rounds) {
  constexpr int kChains = 12;
  __m512i sums[kChains];
  for (__m512i& sum : sums) {
    sum = _mm512_setzero_si512();
  }
  const __m512i left = _mm512_set1_epi8(3);
  __m512i right = _mm512_set1_epi8(5);
  for (std::int64_t i = 0; i < rounds; ++i) {
    asm volatile("" : "+v"(right));
    for (__m512i& sum : sums) {
      sum = _mm512_dpbusd_epi32(sum, left, right);
    }
  }
  auto total = sums[0];
  for (int i = 1; i < kChains; ++i) {
    total = _mm512_add_epi32(total, sums[i]);
  }
  keep(total);
  return kChains * 64.0 * static_cast<double>(rounds);
}

double f32_avx512(std::int64_t rounds) {
  constexpr int kChains = 12;
  __m512 sums[kChains];
  for (__m512& sum : sums) {
    sum = _mm512_setzero_ps();
  }
  __m512 factor = _mm512_set1_ps(0.9999F);
  const __m512 step = _mm512_set1_ps(1e-5F);
  for (std::int64_t i = 0; i < rounds; ++i) {
    asm volatile("" : "+v"(factor));
    for (__m512& sum : sums) {
      sum = _mm512_fmadd_ps(sum, factor, step);
    }
  }
  auto total = sums[0];
  for (int i = 1; i < kChains; ++i) {
    total = _mm512_add_ps(total, sums[i]);
  }
  keep(total);
  return kChains * 16.0 * static_cast<double>(rounds);
}

TARGET_END
#elif defined(__aarch64__)

// As the NEON kernels multiply 4-bit codes: eight products deep in 16 bits.
double int8_neon(std::int64_t rounds) {
  constexpr int kChains = 6;
  int32x4_t sums[kChains] = {};
  const int8x16_t left = vdupq_n_s8(3);
  int8x16_t right = vdupq_n_s8(5);
  for (std::int64_t i = 0; i < rounds; ++i) {
    for (int32x4_t& sum : sums) {
      int16x8_t low = vdupq_n_s16(0);
      int16x8_t high = vdupq_n_s16(0);
      for (int deep = 0; deep < 8; ++deep) {
        asm volatile("" : "+w"(right));  // else one product serves all eight
        low = vmlal_s8(low, vget_low_s8(left), vget_low_s8(right));
        high = vmlal_high_s8(high, left, right);
      }
      sum = vpadalq_s16(vpadalq_s16(sum, low), high);
    }
  }
  auto total = sums[0];
  for (int i = 1; i < kChains; ++i) {
    total = vaddq_s32(total, sums[i]);
  }
  keep(total);
  return kChains * 8.0 * 16.0 * static_cast<double>(rounds);
}

double f32_neon(std::int64_t rounds) {
  constexpr int kChains = 16;
  float32x4_t sums[kChains];
  for (float32x4_t& sum : sums) {
    sum = vdupq_n_f32(0.0F);
  }
  float32x4_t factor = vdupq_n_f32(0.9999F);
  const float32x4_t step = vdupq_n_f32(1e-5F);
  for (std::int64_t i = 0; i < rounds; ++i) {
    asm volatile("" : "+w"(factor));
    for (float32x4_t& sum : sums) {
      sum = vfmaq_f32(step, sum, factor);
    }
  }
  auto total = sums[0];
  for (int i = 1; i < kChains; ++i) {
    total = vaddq_f32(total, sums[i]);
  }
  keep(total);
  return kChains * 4.0 * static_cast<double>(rounds);
}

TARGET_BEGIN("arch=armv8.2-a+dotprod")

double int8_dotprod(std::int64_t rounds) {
  constexpr int kChains = 16;
  int32x4_t sums[kChains] = {};
  const int8x16_t left = vdupq_n_s8(3);
  int8x16_t right = vdupq_n_s8(5);
  for (std::int64_t i = 0; i < rounds; ++i) {
    asm volatile("" : "+w"(right));
    for (int32x4_t& sum : sums) {
      sum = vdotq_s32(sum, left, right);
    }
  }
  auto total = sums[0];
  for (int i = 1; i < kChains; ++i) {
    total = vaddq_s32(total, sums[i]);
  }
  keep(total);
  return kChains * 16.0 * static_cast<double>(rounds);
}

TARGET_END
TARGET_BEGIN("arch=armv8.2-a+i8mm")

double int8_i8mm(std::int64_t rounds) {
  constexpr int kChains = 16;
  int32x4_t sums[kChains] = {};
  const int8x16_t left = vdupq_n_s8(3);
  int8x16_t right = vdupq_n_s8(5);
  for (std::int64_t i = 0; i < rounds; ++i) {
    asm volatile("" : "+w"(right));
    for (int32x4_t& sum : sums) {
      sum = vmmlaq_s32(sum, left, right);
    }
  }
  auto total = sums[0];
  for (int i = 1; i < kChains; ++i) {
    total = vaddq_s32(total, sums[i]);
  }
  keep(total);
  return kChains * 32.0 * static_cast<double>(rounds);
}

TARGET_END
#endif

}  // namespace

CeilingRoutines select_ceiling_routines() {
  CeilingRoutines routines{read_portable, int8_portable, f32_portable};
#if defined(__x86_64__)
  const platform::CpuFeatures& features = platform::cpu_features();
  if (features.avx2_fma_f16c) {
    routines = {read_avx2, int8_avx2, f32_avx2};
  }
  if (features.avx_vnni) {
    routines.int8 = int8_avx_vnni;
  }
  if (features.avx512_vnni) {
    routines.int8 = int8_vnni;
    routines.f32 = f32_avx512;
  }
#elif defined(__aarch64__)
  routines.int8 = int8_neon;
  routines.f32 = f32_neon;
  if (platform::cpu_features().dotprod) {
    routines.int8 = int8_dotprod;
  }
  if (platform::cpu_features().dotprod && platform::cpu_features().i8mm) {
    routines.int8 = int8_i8mm;
  }
#endif
  return routines;
}

}  // namespace edgewise::kernels
