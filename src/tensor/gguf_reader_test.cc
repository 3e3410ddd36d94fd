#include "tensor/gguf_reader.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <rapidcheck.h>

#include <limits>
#include <map>

#include "tensor/gguf_test_writer.h"

namespace edgewise::tensor {
namespace {

using testing::HasSubstr;
using Type = GgufWriter::Type;

constexpr std::uint32_t kF32Id = 0;
constexpr std::uint32_t kQ4KId = 12;
constexpr std::uint32_t kIq2XxsId = 16;

Result<GgufContent> parse(const std::vector<std::byte>& bytes,
                          UnsupportedTypes policy = UnsupportedTypes::kReject) {
  return parse_gguf(bytes, "model.gguf", policy);
}

// The error of a file that must not be read, or "".
std::string error_of(const GgufWriter& writer) {
  const std::vector<std::byte> bytes = writer.bytes();
  const Result<GgufContent> content = parse(bytes);
  return content ? "" : content.error().message;
}

GgufWriter small_file() {
  GgufWriter writer;
  writer.add_text("general.architecture", "llama").add_u32("llama.block_count", 7);
  writer.add_value("tokenizer.ggml.tokens", std::vector<std::string>{"a", "", "bc"});
  writer.add_value("tokenizer.ggml.scores", std::vector<float>{0.5F, -1.0F});
  writer.add("llama.flag", Type::kBool, true);
  writer.add_tensor("first", kF32Id, {3, 2}, std::string(24, 'x'));
  writer.add_tensor("second", kQ4KId, {256}, std::string(144, 'y'));
  return writer;
}

TEST(GgufReader, ReadsMetadataAndTensors) {
  const std::vector<std::byte> bytes = small_file().bytes();
  const Result<GgufContent> content = parse(bytes);
  ASSERT_TRUE(content.has_value()) << content.error().message;
  EXPECT_EQ(content->metadata.string("general.architecture").value(), "llama");
  EXPECT_EQ(content->metadata.integer("llama.block_count").value(), 7);
  EXPECT_EQ(content->metadata.boolean("llama.flag").value(), true);
  ASSERT_EQ(content->tensors.size(), 2U);
  EXPECT_EQ(content->tensors[0].shape, (std::vector<std::int64_t>{3, 2}));
  EXPECT_EQ(content->tensors[0].data.size(), 24U);
  EXPECT_EQ(content->tensors[1].type, DType::kQ4_K);
  EXPECT_EQ(content->tensors[1].data.size(), 144U);
  EXPECT_EQ(content->tensors[1].data[143], std::byte{'y'});
}

TEST(GgufReader, ReadsVersion2AndFilesWithoutTensors) {
  GgufWriter writer;
  writer.version = 2;
  writer.add_text("general.architecture", "llama");
  const std::vector<std::byte> bytes = writer.bytes();
  const Result<GgufContent> content = parse(bytes);
  ASSERT_TRUE(content.has_value()) << content.error().message;
  EXPECT_TRUE(content->tensors.empty());
}

TEST(GgufReader, HonoursTheAlignment) {
  GgufWriter writer;
  writer.alignment = 128;
  writer.add_u32("general.alignment", 128);
  writer.add_tensor("a", kF32Id, {1}, "aaaa").add_tensor("b", kF32Id, {1}, "bbbb");
  const std::vector<std::byte> bytes = writer.bytes();
  const Result<GgufContent> content = parse(bytes);
  ASSERT_TRUE(content.has_value()) << content.error().message;
  EXPECT_EQ(content->tensors[1].data[0], std::byte{'b'});
  EXPECT_EQ((content->tensors[1].data.data() - bytes.data()) % 128, 0);
}

TEST(GgufReader, RefusesOtherFilesAndVersions) {
  GgufWriter writer = small_file();
  writer.magic = 0x04034B50;
  EXPECT_THAT(error_of(writer), HasSubstr("model.gguf: not a GGUF file"));
  writer = small_file();
  writer.version = 1;
  EXPECT_THAT(error_of(writer), HasSubstr("GGUF version 1 is not supported"));
  writer.version = 4;
  EXPECT_THAT(error_of(writer), HasSubstr("GGUF version 4 is not supported"));
  writer.version = 0x03000000;
  EXPECT_THAT(error_of(writer), HasSubstr("big-endian"));
}

TEST(GgufReader, ChecksCountsBeforeAllocating) {
  for (const std::int64_t extra :
       {std::int64_t{1'000}, std::int64_t{1} << 40, std::numeric_limits<std::int64_t>::min()}) {
    GgufWriter writer = small_file();
    writer.extra_tensors = extra;
    EXPECT_THAT(error_of(writer), HasSubstr("tensors, but only")) << extra;
    writer = small_file();
    writer.extra_entries = extra;
    EXPECT_THAT(error_of(writer), HasSubstr("metadata entries, but only")) << extra;
  }
  for (const std::uint32_t type : {Type::kU8, Type::kF64, Type::kString}) {
    for (const std::uint64_t count :
         {std::uint64_t{100}, std::uint64_t{1} << 61, ~std::uint64_t{0}}) {
      GgufWriter writer;
      writer.add_array("key", type, count, "12345678");
      EXPECT_THAT(error_of(writer), HasSubstr("metadata key key claims")) << type << " " << count;
    }
  }
}

TEST(GgufReader, CapsTheElementsOfAllArraysTogether) {
  // NOLINTNEXTLINE(bugprone-string-constructor): meant to be that long
  const std::string ten_million(10'000'000, '\1');
  GgufWriter writer;
  writer.add_array("one", Type::kU8, ten_million.size(), ten_million);
  EXPECT_EQ(error_of(writer), "");
  writer.add_array("two", Type::kU8, ten_million.size(), ten_million);
  EXPECT_THAT(error_of(writer), HasSubstr("in all arrays together"));
}

TEST(GgufReader, RefusesWrongMetadata) {
  EXPECT_THAT(error_of(GgufWriter().add_u32("a", 1).add_u32("a", 1)),
              HasSubstr("metadata key a appears twice"));
  EXPECT_THAT(error_of(GgufWriter().add_u32("", 1)), HasSubstr("a metadata key is empty"));
  EXPECT_THAT(error_of(GgufWriter().add("a", Type::kBool, std::uint8_t{2})),
              HasSubstr("bool with the value 2"));
  EXPECT_THAT(error_of(GgufWriter().add("a", static_cast<Type>(13), 1)),
              HasSubstr("unknown value type 13"));
  EXPECT_THAT(error_of(GgufWriter().add_array("a", 99, 0, "")),
              HasSubstr("array of the unknown type 99"));
  EXPECT_THAT(error_of(GgufWriter().add_array("a", Type::kArray, 0, "")),
              HasSubstr("array of arrays"));
  EXPECT_THAT(error_of(GgufWriter().add_array("a", Type::kBool, 2, "\1\3")),
              HasSubstr("does not allow"));
  EXPECT_THAT(error_of(GgufWriter().add_array("a", Type::kU64, 1, std::string(8, '\xff'))),
              HasSubstr("does not allow"));
  EXPECT_THAT(error_of(GgufWriter().add("a", Type::kString, std::uint64_t{1} << 63)),
              HasSubstr("a claims 9223372036854775808 bytes"));
  EXPECT_THAT(error_of(GgufWriter().add_u32(std::string(70'000, 'k'), 1)),
              HasSubstr("at most 65535"));
  EXPECT_THAT(
      error_of(
          GgufWriter().add_text("general.alignment", "x").add_tensor("t", kF32Id, {1}, "1234")),
      HasSubstr("general.alignment"));
}

TEST(GgufReader, RefusesWrongAlignments) {
  for (const std::uint32_t alignment : {0U, 1U, 4U, 24U, 1U << 31U}) {
    EXPECT_THAT(error_of(GgufWriter().add_u32("general.alignment", alignment)),
                HasSubstr("power of two"))
        << alignment;
  }
}

TEST(GgufReader, RefusesWrongTensors) {
  const auto error_of_shape = [](const std::vector<std::int64_t>& shape,
                                 std::uint32_t type = kF32Id) {
    return error_of(GgufWriter().add_tensor("t", type, shape, std::string(4096, 'x')));
  };
  EXPECT_THAT(error_of_shape({}), HasSubstr("tensor t has 0 dimensions"));
  EXPECT_THAT(error_of_shape({1, 1, 1, 1, 1}), HasSubstr("tensor t has 5 dimensions"));
  EXPECT_THAT(error_of_shape({4, 0}), HasSubstr("dimension 1 of tensor t is 0"));
  EXPECT_THAT(error_of_shape({-4}), HasSubstr("dimension 0 of tensor t is -4"));
  EXPECT_THAT(error_of_shape({std::int64_t{1} << 32, std::int64_t{1} << 32}),
              HasSubstr("impossible"));
  EXPECT_THAT(error_of_shape({std::int64_t{1} << 62}), HasSubstr("more bytes than any file"));
  EXPECT_THAT(error_of_shape({1025}), HasSubstr("tensor t claims 4100 bytes"));
  EXPECT_THAT(error_of_shape({128, 2}, kQ4KId), HasSubstr("not a multiple of the 256"));

  const auto error_of_offset = [](std::uint64_t offset) {
    return error_of(GgufWriter()
                        .add_tensor("a", kF32Id, {8}, std::string(64, 'x'))
                        .add_tensor_entry("t", kF32Id, {1}, offset));
  };
  EXPECT_EQ(error_of_offset(32), "");
  EXPECT_THAT(error_of_offset(0), HasSubstr("overlaps"));
  EXPECT_THAT(error_of_offset(33), HasSubstr("not a multiple of the alignment"));
  EXPECT_THAT(error_of_offset(64), HasSubstr("tensor t claims 4 bytes at 64"));
  EXPECT_THAT(error_of_offset(~std::uint64_t{31}), HasSubstr("tensor t claims 4 bytes"));

  EXPECT_THAT(
      error_of(
          GgufWriter().add_tensor("t", kF32Id, {1}, "1234").add_tensor("t", kF32Id, {1}, "1234")),
      HasSubstr("tensor t appears twice"));
  EXPECT_THAT(error_of(GgufWriter().add_tensor("", kF32Id, {1}, "1234")),
              HasSubstr("a tensor name is empty"));
  EXPECT_THAT(error_of(GgufWriter().add_tensor(std::string(300, 't'), kF32Id, {1}, "1234")),
              HasSubstr("at most 256"));
  EXPECT_THAT(error_of(GgufWriter().add_tensor_entry("t", kF32Id, {1}, 0)),
              HasSubstr("tensor t claims 4 bytes"));
}

TEST(GgufReader, RefusesTensorsThatOverlap) {
  // In the file's order and against it, as a whole and by the last element.
  EXPECT_THAT(error_of(GgufWriter()
                           .add_tensor("first", kF32Id, {9}, std::string(64, 'x'))
                           .add_tensor_entry("second", kF32Id, {1}, 32)),
              HasSubstr("tensor second overlaps tensor first"));
  EXPECT_THAT(error_of(GgufWriter()
                           .add_tensor_entry("late", kF32Id, {1}, 32)
                           .add_tensor("early", kF32Id, {16}, std::string(64, 'x'))),
              HasSubstr("tensor late overlaps tensor early"));
}

TEST(GgufReader, NamesTensorAndTypeThatIsNotSupported) {
  GgufWriter writer = small_file();
  writer.add_tensor("odd", kIq2XxsId, {256}, std::string(66, 'z'));
  const std::vector<std::byte> bytes = writer.bytes();
  const Result<GgufContent> rejected = parse(bytes);
  ASSERT_FALSE(rejected.has_value());
  EXPECT_EQ(rejected.error().code, ErrorCode::kUnsupported);
  EXPECT_THAT(rejected.error().message, HasSubstr("tensor odd has the type IQ2_XXS (16)"));

  const Result<GgufContent> listed = parse(bytes, UnsupportedTypes::kList);
  ASSERT_TRUE(listed.has_value()) << listed.error().message;
  EXPECT_EQ(listed->tensors.size(), 2U);
  ASSERT_EQ(listed->unsupported.size(), 1U);
  EXPECT_EQ(listed->unsupported[0].name, "odd");
  EXPECT_EQ(listed->unsupported[0].shape, (std::vector<std::int64_t>{256}));
}

TEST(GgufReader, ErrorsNameFileFieldAndOffsetAndStayPrintable) {
  GgufWriter writer;
  writer.add_u32("a\n\x1b[31m\xff", 1).add_u32("a\n\x1b[31m\xff", 1);
  EXPECT_EQ(error_of(writer),
            "model.gguf: at offset 64: metadata key a\\x0a\\x1b[31m\\xff appears twice");
}

TEST(GgufReader, RefusesEveryTruncation) {
  const std::vector<std::byte> bytes = small_file().bytes();
  for (std::size_t size = 0; size < bytes.size(); ++size) {
    const std::vector<std::byte> cut(bytes.begin(),
                                     bytes.begin() + static_cast<std::ptrdiff_t>(size));
    EXPECT_FALSE(parse(cut).has_value()) << size << " of " << bytes.size() << " bytes";
  }
}

// Whatever is accepted must lie inside of the file, and nothing in two tensors.
void check_views(const GgufContent& content, const std::vector<std::byte>& bytes) {
  for (const TensorView& a : content.tensors) {
    for (const TensorView& b : content.tensors) {
      RC_ASSERT(&a == &b || a.data.data() + a.data.size() <= b.data.data() ||
                b.data.data() + b.data.size() <= a.data.data());
    }
  }
  for (const TensorView& tensor : content.tensors) {
    RC_ASSERT(tensor.data.data() >= bytes.data());
    RC_ASSERT(tensor.data.data() + tensor.data.size() <= bytes.data() + bytes.size());
    RC_ASSERT(static_cast<std::int64_t>(tensor.data.size()) ==
              storage_bytes(tensor.type, tensor.cols() * tensor.rows()));
  }
}

TEST(GgufReader, SurvivesChangedBytes) {
  const std::vector<std::byte> original = small_file().bytes();
  int accepted = 0;
  EXPECT_TRUE(rc::check([&] {
    std::vector<std::byte> bytes = original;
    for (int changes = *rc::gen::inRange(1, 5); changes > 0; --changes) {
      const auto at = *rc::gen::inRange<std::size_t>(0, bytes.size());
      bytes[at] = *rc::gen::element(std::byte{0}, std::byte{1}, std::byte{0x7f}, std::byte{0xff},
                                    bytes[at] ^ std::byte{0x10});
    }
    const Result<GgufContent> content = parse(bytes, UnsupportedTypes::kList);
    if (content) {
      ++accepted;
      check_views(*content, bytes);
    }
  }));
  EXPECT_GT(accepted, 0);
}

TEST(GgufReader, SurvivesEveryByteSetToEveryExtreme) {
  const std::vector<std::byte> original = small_file().bytes();
  for (std::size_t at = 0; at < original.size(); ++at) {
    for (const int value : {0, 1, 2, 8, 9, 0x7f, 0x80, 0xff}) {
      std::vector<std::byte> bytes = original;
      bytes[at] = std::byte(value);
      const Result<GgufContent> content = parse(bytes, UnsupportedTypes::kList);
      if (content) {
        check_views(*content, bytes);
      }
    }
  }
}

rc::Gen<MetadataValue> arbitrary_value() {
  const auto as_value = [](auto gen) {
    return rc::gen::map(std::move(gen), [](auto v) { return MetadataValue(std::move(v)); });
  };
  return rc::gen::oneOf(
      as_value(rc::gen::arbitrary<std::int64_t>()), as_value(rc::gen::arbitrary<std::uint64_t>()),
      as_value(rc::gen::arbitrary<double>()), as_value(rc::gen::arbitrary<bool>()),
      as_value(rc::gen::arbitrary<std::string>()),
      as_value(rc::gen::arbitrary<std::vector<std::int64_t>>()),
      as_value(rc::gen::arbitrary<std::vector<float>>()),
      as_value(rc::gen::arbitrary<std::vector<std::string>>()));
}

TEST(GgufReader, ReadsBackWhateverIsWritten) {
  EXPECT_TRUE(rc::check([] {
    std::map<std::string, MetadataValue, std::less<>> values;
    for (const auto& key : *rc::gen::arbitrary<std::vector<std::string>>()) {
      if (!key.empty() && key != "general.alignment") {
        values.insert_or_assign(key, *arbitrary_value());
      }
    }
    GgufWriter writer;
    for (const auto& [key, value] : values) {
      writer.add_value(key, value);
    }
    const std::vector<std::byte> bytes = writer.bytes();
    const Result<GgufContent> content = parse(bytes);
    RC_ASSERT(content.has_value());
    RC_ASSERT(content->metadata.all() == values);
  }));
}

}  // namespace
}  // namespace edgewise::tensor
