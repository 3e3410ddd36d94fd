// Oracles: the gguf package (tests/golden/make_dequant_vectors.py), the compiler's _Float16.
#include "tensor/dtype.h"

#include <gtest/gtest.h>
#include <rapidcheck.h>

#include <cmath>
#include <cstring>
#include <limits>
#include <vector>

#include "tensor/model_file.h"

namespace edgewise::tensor {
namespace {

ModelFile open_vectors() {
  Result<ModelFile> file =
      ModelFile::open(EDGEWISE_SOURCE_DIR "/tests/golden/dequant_vectors.gguf");
  EXPECT_TRUE(file.has_value()) << file.error().message;
  return std::move(file).value();
}

TEST(DType, DequantizesAsTheGgufPackageDoes) {
  const ModelFile file = open_vectors();
  for (const DTypeTraits& kind : all_dtypes()) {
    SCOPED_TRACE(kind.name);
    const TensorView* blocks = file.find(fmt::format("{}.blocks", kind.name));
    const TensorView* values = file.find(fmt::format("{}.values", kind.name));
    ASSERT_TRUE(blocks != nullptr && values != nullptr);
    EXPECT_EQ(blocks->type, kind.type);
    const auto elements = static_cast<std::size_t>(values->cols());
    ASSERT_GE(elements, 64U);
    std::vector<float> expected(elements);
    std::memcpy(expected.data(), values->data.data(), values->data.size());
    std::vector<float> actual(elements);
    dequantize(kind.type, blocks->data.data(), actual);
    for (std::size_t i = 0; i < elements; ++i) {
      ASSERT_EQ(__builtin_bit_cast(std::uint32_t, actual[i]),
                __builtin_bit_cast(std::uint32_t, expected[i]))
          << "element " << i << ": " << actual[i] << ", expected " << expected[i];
    }
  }
}

TEST(DType, ReadsMetadataOfEveryTypeThatTheGgufPackageWrote) {
  const ModelFile file = open_vectors();
  const Metadata& m = file.metadata();
  EXPECT_EQ(m.integer("test.u8").value(), 200);
  EXPECT_EQ(m.integer("test.i8").value(), -100);
  EXPECT_EQ(m.integer("test.u16").value(), 60000);
  EXPECT_EQ(m.integer("test.i16").value(), -30000);
  EXPECT_EQ(m.integer("test.u32").value(), 4'000'000'000);
  EXPECT_EQ(m.integer("test.i32").value(), -2'000'000'000);
  EXPECT_EQ(*m.find("test.u64"), MetadataValue(std::numeric_limits<std::uint64_t>::max()));
  EXPECT_EQ(m.integer("test.i64").value(), std::numeric_limits<std::int64_t>::min());
  EXPECT_EQ(m.number("test.f32").value(), 0.5);
  EXPECT_EQ(m.number("test.f64").value(), 1e300);
  EXPECT_EQ(m.boolean("test.true").value(), true);
  EXPECT_EQ(m.boolean("test.false").value(), false);
  EXPECT_EQ(m.string("test.text").value(), "grüße\n");
  EXPECT_EQ(*m.integers("test.ints"), (std::vector<std::int64_t>{1, -2, 3}));
  EXPECT_EQ(*m.floats("test.floats"), (std::vector<float>{0.25F, -1.5F}));
  EXPECT_EQ(*m.integers("test.bools"), (std::vector<std::int64_t>{1, 0, 1}));
  EXPECT_EQ(*m.strings("test.texts"), (TextList{"a", "", "Ġhello"}));
}

TEST(DType, KnowsItsNumbersAndNames) {
  std::uint32_t last = 0;
  for (const DTypeTraits& kind : all_dtypes()) {
    const auto id = static_cast<std::uint32_t>(kind.type);
    EXPECT_TRUE(id == 0 || id > last);
    last = id;
    EXPECT_EQ(dtype_from_gguf(id), kind.type);
    EXPECT_EQ(gguf_type_name(id), kind.name);
    EXPECT_EQ(storage_bytes(kind.type, 3 * kind.block_elems), 3 * kind.block_bytes);
  }
  for (const std::uint32_t id : {4U, 5U, 9U, 15U, 16U, 24U, 31U, 39U, 1000U, ~0U}) {
    EXPECT_FALSE(dtype_from_gguf(id).has_value()) << id;
  }
  EXPECT_EQ(gguf_type_name(39), "MXFP4");
  EXPECT_EQ(gguf_type_name(34), "TQ1_0");
  EXPECT_EQ(gguf_type_name(~0U), "unknown");
}

#if defined(__FLT16_MAX__)
#if defined(__aarch64__)
using Half = __fp16;  // g++ 12 has no _Float16 in C++ there
#else
__extension__ typedef _Float16 Half;
#endif

TEST(DType, HalvesBecomeFloatsAsTheCompilerSays) {
  for (std::uint32_t bits = 0; bits < 0x10000; ++bits) {
    const float expected =
        static_cast<float>(__builtin_bit_cast(Half, static_cast<std::uint16_t>(bits)));
    const float actual = f16_to_f32(static_cast<std::uint16_t>(bits));
    ASSERT_EQ(__builtin_bit_cast(std::uint32_t, actual),
              __builtin_bit_cast(std::uint32_t, expected))
        << bits;
  }
}

void expect_rounds_like_the_compiler(float value) {
  const auto expected = __builtin_bit_cast(std::uint16_t, static_cast<Half>(value));
  if (std::isnan(value)) {
    ASSERT_TRUE(std::isnan(f16_to_f32(f32_to_f16(value))));
  } else {
    ASSERT_EQ(f32_to_f16(value), expected) << value;
  }
}

TEST(DType, FloatsRoundToHalvesAsTheCompilerDoes) {
  for (std::uint32_t bits = 0; bits < 0x8000;
       ++bits) {  // each half, the middle to the next, and just beside it
    const float half = f16_to_f32(static_cast<std::uint16_t>(bits));
    const auto wide = __builtin_bit_cast(std::uint32_t, half);
    for (const std::uint32_t step : {0U, 0xfffU, 0x1000U, 0x1001U}) {
      expect_rounds_like_the_compiler(__builtin_bit_cast(float, wide + step));
      expect_rounds_like_the_compiler(__builtin_bit_cast(float, (wide + step) | 0x80000000U));
    }
  }
  rc::check([] {
    expect_rounds_like_the_compiler(
        __builtin_bit_cast(float, *rc::gen::arbitrary<std::uint32_t>()));
  });
  for (int exponent = -30; exponent < -10; ++exponent) {  // subnormal results
    for (int i = 0; i < 100; ++i) {
      expect_rounds_like_the_compiler(std::ldexp(1.0F + static_cast<float>(i) / 100.0F, exponent));
    }
  }
}
#endif

TEST(DType, Bf16IsTheUpperHalfOfAFloat) {
  EXPECT_EQ(bf16_to_f32(0x3f80), 1.0F);
  EXPECT_EQ(bf16_to_f32(0xc000), -2.0F);
}

}  // namespace
}  // namespace edgewise::tensor
