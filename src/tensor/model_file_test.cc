#include "tensor/model_file.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <stdlib.h>

#include <filesystem>
#include <fstream>

#include "tensor/gguf_test_writer.h"
#include "tensor/split_name.h"

namespace edgewise::tensor {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;

class ModelFileTest : public testing::Test {
 protected:
  ModelFileTest() {
    std::string name = (fs::temp_directory_path() / "edgewise-model-XXXXXX").string();
    folder_ = ::mkdtemp(name.data());
  }

  ~ModelFileTest() override { fs::remove_all(folder_); }

  fs::path write(const std::string& name, const GgufWriter& writer) const {
    const std::vector<std::byte> bytes = writer.bytes();
    std::ofstream(folder_ / name, std::ios::binary)
        .write(reinterpret_cast<const char*>(bytes.data()),
               static_cast<std::streamsize>(bytes.size()));
    return folder_ / name;
  }

  // Part `index` (from 0) of three, with the tensor "t<index>".
  static GgufWriter part(std::uint16_t index) {
    GgufWriter writer;
    if (index == 0) {
      writer.add_text("general.architecture", "llama")
          .add("split.tensors.count", GgufWriter::kI32, std::int32_t{3});
    }
    writer.add("split.no", GgufWriter::kU16, index)
        .add("split.count", GgufWriter::kU16, std::uint16_t{3});
    writer.add_tensor(fmt::format("t{}", index), 0, {2},
                      fmt::format("{0}{0}{0}{0}{0}{0}{0}{0}", index));
    return writer;
  }

  void write_parts() const {
    for (std::uint16_t index = 0; index < 3; ++index) {
      write(part_name(index), part(index));
    }
  }

  static std::string part_name(int index) {
    return fmt::format("m-0000{}-of-00003.gguf", index + 1);
  }

  std::string error_of(const std::string& name) const {
    const Result<ModelFile> file = ModelFile::open(folder_ / name);
    return file ? "" : file.error().message;
  }

  fs::path folder_;
};

TEST_F(ModelFileTest, FindsTensorsByName) {
  GgufWriter writer;
  writer.add_tensor("a", 0, {2, 3, 4}, std::string(96, 'a'));
  const Result<ModelFile> file = ModelFile::open(write("m.gguf", writer));
  ASSERT_TRUE(file.has_value()) << file.error().message;
  ASSERT_NE(file->find("a"), nullptr);
  EXPECT_EQ(file->find("a")->cols(), 2);
  EXPECT_EQ(file->find("a")->rows(), 12);
  EXPECT_EQ(file->find("b"), nullptr);
  EXPECT_EQ(file->require("a").value(), file->find("a"));
  EXPECT_THAT(file->require("b").error().message, HasSubstr("tensor b is missing"));
  EXPECT_EQ(file->file_bytes(), static_cast<std::int64_t>(fs::file_size(folder_ / "m.gguf")));
  file->release(file->find("a")->data);
  EXPECT_EQ(file->find("a")->data[95], std::byte{'a'});
}

TEST_F(ModelFileTest, RequireNamesTheTypeOfATensorThatIsOnlyListed) {
  GgufWriter writer;
  writer.add_tensor("odd", 16, {256}, std::string(66, 'a'));
  const fs::path path = write("m.gguf", writer);
  EXPECT_FALSE(ModelFile::open(path).has_value());
  const Result<ModelFile> file = ModelFile::open(path, UnsupportedTypes::kList);
  ASSERT_TRUE(file.has_value()) << file.error().message;
  ASSERT_EQ(file->unsupported().size(), 1U);
  EXPECT_EQ(file->require("odd").error().code, ErrorCode::kUnsupported);
  EXPECT_THAT(file->require("odd").error().message, HasSubstr("tensor odd has the type IQ2_XXS"));
}

TEST_F(ModelFileTest, AnyPartOfASplitModelFindsTheOthers) {
  write_parts();
  for (int opened = 0; opened < 3; ++opened) {
    const Result<ModelFile> file = ModelFile::open(folder_ / part_name(opened));
    ASSERT_TRUE(file.has_value()) << file.error().message;
    EXPECT_EQ(file->metadata().string("general.architecture").value(), "llama");
    ASSERT_EQ(file->tensors().size(), 3U);
    EXPECT_EQ(file->require("t0").value()->data[7], std::byte{'0'});
    EXPECT_EQ(file->require("t2").value()->data[7], std::byte{'2'});
    file->release(file->find("t2")->data);
    EXPECT_EQ(file->require("t2").value()->data[7], std::byte{'2'});
  }
}

TEST_F(ModelFileTest, SaysWhichPartIsMissing) {
  write_parts();
  fs::remove(folder_ / part_name(1));
  EXPECT_THAT(error_of(part_name(2)), HasSubstr("m-00002-of-00003.gguf: cannot open"));
}

TEST_F(ModelFileTest, RefusesPartsThatDoNotBelongTogether) {
  write_parts();
  write(part_name(1), part(2));
  EXPECT_THAT(error_of(part_name(0)), HasSubstr("says it is part 3 of 3, its name says 2 of 3"));

  GgufWriter twice = part(1);
  twice.add_tensor("t0", 0, {1}, "1234");
  write(part_name(1), twice);
  EXPECT_THAT(error_of(part_name(0)), HasSubstr("tensor t0 appears twice"));

  GgufWriter more = part(1);
  more.add_tensor("t9", 0, {1}, "1234");
  write(part_name(1), more);
  EXPECT_THAT(error_of(part_name(0)), HasSubstr("hold 4 tensors, but split.tensors.count is 3"));
}

TEST_F(ModelFileTest, ExplainsHowPartsMustBeNamed) {
  write("renamed.gguf", part(0));
  EXPECT_THAT(error_of("renamed.gguf"), HasSubstr("must be named NAME-00001-of-00003.gguf"));
  write("m-00001-of-00002.gguf", part(0));
  EXPECT_THAT(error_of("m-00001-of-00002.gguf"),
              HasSubstr("must be named NAME-00001-of-00003.gguf"));
}

TEST_F(ModelFileTest, ExplainsWhatCannotBeOpened) {
  EXPECT_THAT(error_of("missing.gguf"), HasSubstr("missing.gguf: cannot open"));
  EXPECT_THAT(error_of("."), HasSubstr("holds no model.safetensors"));
  EXPECT_THAT(error_of("model.safetensors"), HasSubstr("holds no model.safetensors"));
  std::ofstream(folder_ / "empty.gguf").flush();
  EXPECT_THAT(error_of("empty.gguf"), HasSubstr("ends inside the magic number; is it complete?"));
}

TEST(SplitName, ReadsWhatItWrites) {
  const std::optional<SplitName> name = parse_split_name("big-model-v1-00002-of-00017.gguf");
  ASSERT_TRUE(name.has_value());
  EXPECT_EQ(name->prefix, "big-model-v1");
  EXPECT_EQ(name->part, 2);
  EXPECT_EQ(name->parts, 17);
  EXPECT_TRUE(name->is_possible());
  EXPECT_EQ(format_split_name(*name), "big-model-v1-00002-of-00017.gguf");
}

TEST(SplitName, RefusesOtherNames) {
  for (const char* name :
       {"", "m.gguf", "-00001-of-00002.gguf", "m-0001-of-00002.gguf", "m-0000x-of-00002.gguf",
        "m-00001-of-00002.ggu", "m-00001-OF-00002.gguf"}) {
    EXPECT_FALSE(parse_split_name(name).has_value()) << name;
  }
}

TEST(SplitName, TellsPartsThatCannotBe) {
  for (const char* name : {"m-00003-of-00002.gguf", "m-00000-of-00002.gguf"}) {
    const std::optional<SplitName> parsed = parse_split_name(name);
    ASSERT_TRUE(parsed.has_value()) << name;
    EXPECT_FALSE(parsed->is_possible()) << name;
  }
}

}  // namespace
}  // namespace edgewise::tensor
