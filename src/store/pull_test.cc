// Packages are real wheels, brought by the real pip client from a folder instead of an index.
#include "store/pull.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>

#include "platform/sha256.h"
#include "store/child_process.h"
#include "store/model_check.h"
#include "store/test_support.h"
#include "tensor/gguf_test_writer.h"

namespace edgewise::store {
namespace {

// The least that pip takes for a wheel: a member, and the two files that describe it.
constexpr char kMakeWheel[] = R"(
import sys, zipfile
folder, name, members = sys.argv[1], sys.argv[2], sys.argv[3:]
with zipfile.ZipFile(f"{folder}/{name}-1.0-py3-none-any.whl", "w") as wheel:
    for path, content in zip(members[::2], members[1::2]):
        wheel.writestr(path, content)
    info = f"{name}-1.0.dist-info"
    wheel.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
    wheel.writestr(f"{info}/RECORD", "")
)";

std::string text_of(const tensor::GgufWriter& writer) {
  const std::vector<std::byte> bytes = writer.bytes();
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

std::string part_of_model(std::uint32_t part, std::uint32_t parts) {
  return text_of(tensor::GgufWriter().add_u32("split.no", part).add_u32("split.count", parts));
}

class Pull : public StoreTest {
 protected:
  Pull() {
    std::filesystem::create_directories(folder_ / "wheels");
    setenv("PIP_NO_INDEX", "1", 1);
    setenv("PIP_FIND_LINKS", (folder_ / "wheels").c_str(), 1);
    setenv("PIP_CONFIG_FILE", "/dev/null", 1);
  }

  void make_wheel(const std::string& name, std::vector<std::string> members) const {
    std::vector<std::string> arguments = {"python3", "-c", kMakeWheel,
                                          (folder_ / "wheels").string(), name};
    arguments.insert(arguments.end(), members.begin(), members.end());
    const auto made = run_child({.arguments = arguments,
                                 .environment = {},
                                 .log = folder_ / "log",
                                 .most_file_bytes = 0,
                                 .on_tick = {}});
    ASSERT_TRUE(made.has_value()) << made.error().message;
  }

  void remove_wheel(const std::string& name) const {
    std::filesystem::remove(folder_ / "wheels" / (name + "-1.0-py3-none-any.whl"));
  }

  static CatalogueModel two_parts(const std::string& content) {
    return {.name = "two",
            .summary = "",
            .packages = {"edgewise_part1==1.0", "edgewise_part2==1.0"},
            .member = "/data/part",
            .entry = "two.gguf",
            .files = {{"two.gguf", platform::sha256_of_text(content), std::ssize(content)}}};
  }

  Store store_ = Store::open(folder_ / "root").value();
  std::vector<std::string> stages_;
  PullEvents events_{.on_stage = [this](std::string_view stage) { stages_.emplace_back(stage); },
                     .on_bytes = [](std::int64_t, std::int64_t) {}};
};

TEST_F(Pull, SaysBeforeItBeginsThatTheDiskIsTooSmall) {
  make_wheel("edgewise_part1", {"edgewise_part1/data/part01.bin", "first "});
  make_wheel("edgewise_part2", {"edgewise_part2/data/part02.bin", "second"});
  CatalogueModel model = two_parts("first second");
  // Room for the model, but not for a package beside it.
  model.files[0].bytes =
      static_cast<std::int64_t>(std::filesystem::space(folder_).available / 4 * 3);
  const auto refused = pull_from_catalogue(store_, model, "two", events_);
  ASSERT_FALSE(refused.has_value());
  EXPECT_EQ(refused.error().code, ErrorCode::kResourceExhausted) << refused.error().message;
  EXPECT_TRUE(stages_.empty());
}

TEST_F(Pull, AssemblesPartsInOrder) {
  make_wheel("edgewise_part1", {"edgewise_part1/data/part01.bin", "first "});
  make_wheel("edgewise_part2", {"edgewise_part2/data/part02.bin", "second"});
  const auto model = pull_from_catalogue(store_, two_parts("first second"), "two", events_);
  ASSERT_TRUE(model.has_value()) << model.error().message;
  EXPECT_EQ(read(store_.path_of(*model)), "first second");
  EXPECT_EQ(stages_, (std::vector<std::string>{"downloading part 1 of 2", "downloading part 2 of 2",
                                               "verifying"}));
}

TEST_F(Pull, ContinuesAfterTheLastCompletePart) {
  make_wheel("edgewise_part1", {"edgewise_part1/data/part01.bin", "first "});
  const auto interrupted = pull_from_catalogue(store_, two_parts("first second"), "two", events_);
  ASSERT_FALSE(interrupted.has_value());
  EXPECT_EQ(interrupted.error().code, ErrorCode::kUnavailable);
  EXPECT_NE(interrupted.error().message.find("is this machine connected?"), std::string::npos)
      << interrupted.error().message;
  EXPECT_TRUE(store_.list().value().empty());

  remove_wheel("edgewise_part1");  // so it can only come from the first attempt
  make_wheel("edgewise_part2", {"edgewise_part2/data/part02.bin", "second"});
  const auto model = pull_from_catalogue(store_, two_parts("first second"), "two", events_);
  ASSERT_TRUE(model.has_value()) << model.error().message;
  EXPECT_EQ(read(store_.path_of(*model)), "first second");
}

TEST_F(Pull, RefusesOtherBytesThanExpectedAndStartsAnew) {
  make_wheel("edgewise_part1", {"edgewise_part1/data/part01.bin", "first "});
  make_wheel("edgewise_part2", {"edgewise_part2/data/part02.bin", "secand"});
  const auto wrong = pull_from_catalogue(store_, two_parts("first second"), "two", events_);
  ASSERT_FALSE(wrong.has_value());
  EXPECT_EQ(wrong.error().code, ErrorCode::kCorrupt);
  EXPECT_TRUE(store_.list().value().empty());

  make_wheel("edgewise_part2", {"edgewise_part2/data/part02.bin", "second"});
  EXPECT_TRUE(pull_from_catalogue(store_, two_parts("first second"), "two", events_).has_value());
}

TEST_F(Pull, RefusesAPackageWithoutTheMember) {
  make_wheel("edgewise_part1", {"edgewise_part1/readme.txt", "nothing here"});
  const auto model = pull_from_catalogue(store_, two_parts("x"), "two", events_);
  ASSERT_FALSE(model.has_value());
  EXPECT_EQ(model.error().code, ErrorCode::kCorrupt);
}

TEST_F(Pull, BringsFolderModelsWithEachFileChecked) {
  make_wheel("edgewise_folder",
             {"edgewise_folder/model/config.json", "{}", "edgewise_folder/model/sub/x.json", "[]",
              "edgewise_folder/model/extra", "not asked for"});
  CatalogueModel folder{.name = "folder",
                        .summary = "",
                        .packages = {"edgewise_folder==1.0"},
                        .member = "edgewise_folder/model/",
                        .entry = "",
                        .files = {{"config.json", platform::sha256_of_text("{}"), 2},
                                  {"sub/x.json", platform::sha256_of_text("[]"), 2}}};
  const auto model = pull_from_catalogue(store_, folder, "folder", events_);
  ASSERT_TRUE(model.has_value()) << model.error().message;
  EXPECT_EQ(read(store_.path_of(*model) / "sub/x.json"), "[]");
  EXPECT_FALSE(std::filesystem::exists(store_.path_of(*model) / "extra"));

  folder.name = "other";
  folder.files[1].sha256 = platform::sha256_of_text("{}");
  EXPECT_EQ(pull_from_catalogue(store_, folder, "other", events_).error().code,
            ErrorCode::kCorrupt);
}

TEST_F(Pull, TwoAtOnceDoTheWorkOnce) {
  make_wheel("edgewise_part1", {"edgewise_part1/data/part01.bin", "first "});
  make_wheel("edgewise_part2", {"edgewise_part2/data/part02.bin", "second"});
  const pid_t other = fork();
  if (other == 0) {
    _exit(pull_from_catalogue(store_, two_parts("first second"), "two", events_).has_value() ? 0
                                                                                             : 1);
  }
  const auto model = pull_from_catalogue(store_, two_parts("first second"), "two", events_);
  int status = 0;
  ASSERT_EQ(waitpid(other, &status, 0), other);
  EXPECT_EQ(status, 0);
  ASSERT_TRUE(model.has_value()) << model.error().message;
  EXPECT_EQ(read(store_.path_of(*model)), "first second");
}

TEST_F(Pull, LocalFilesAreCopiedWithAllPartsOfASplitModel) {
  write("m-00001-of-00002.gguf", part_of_model(0, 2));
  const auto second = write("m-00002-of-00002.gguf", part_of_model(1, 2));
  const auto model =
      pull(store_, {.reference = second.string(), .name = "split", .sha256 = "", .hub_base = ""},
           events_);
  ASSERT_TRUE(model.has_value()) << model.error().message;
  EXPECT_EQ(read(store_.path_of(*model)), part_of_model(0, 2));
  EXPECT_EQ(read(store_.path_of(*model).parent_path() / "m-00002-of-00002.gguf"),
            part_of_model(1, 2));
}

TEST_F(Pull, LocalFilesAreCheckedToo) {
  const std::string bytes = text_of(tensor::GgufWriter().add_u32("a", 1));
  const auto path = write("m.gguf", bytes);
  EXPECT_EQ(pull(store_,
                 {.reference = path.string(),
                  .name = "",
                  .sha256 = platform::sha256_of_text("others"),
                  .hub_base = ""},
                 events_)
                .error()
                .code,
            ErrorCode::kCorrupt);
  EXPECT_TRUE(store_.list().value().empty());
  EXPECT_TRUE(pull(store_,
                   {.reference = path.string(),
                    .name = "",
                    .sha256 = platform::sha256_of_text(bytes),
                    .hub_base = ""},
                   events_)
                  .has_value());
}

TEST_F(Pull, AFolderMustHoldAModel) {
  write("folder/readme.txt", "no model");
  EXPECT_EQ(
      pull(store_,
           {.reference = (folder_ / "folder").string(), .name = "", .sha256 = "", .hub_base = ""},
           events_)
          .error()
          .code,
      ErrorCode::kInvalidArgument);
  write("folder/model.safetensors", "weights");
  EXPECT_EQ(
      pull(store_,
           {.reference = (folder_ / "folder").string(), .name = "", .sha256 = "", .hub_base = ""},
           events_)
          .error()
          .code,
      ErrorCode::kCorrupt);
  EXPECT_TRUE(store_.list().value().empty());
  const std::string bert = EDGEWISE_SOURCE_DIR "/tests/golden/tiny_bert";
  EXPECT_TRUE(pull(store_, {.reference = bert, .name = "", .sha256 = "", .hub_base = ""}, events_)
                  .has_value());
}

TEST_F(Pull, WhatIsNoModelIsNotStoredAndSaysWhatItIs) {
  const std::string model = text_of(tensor::GgufWriter().add_text("general.name", "a name"));
  const std::vector<std::pair<std::string, std::string>> cases = {
      {"", "an empty file"},
      {"<!DOCTYPE html><title>Sign in</title>", "a web page"},
      {"\n <HTML>", "a web page"},
      {"version https://git-lfs.github.com/spec/v1\noid sha256:1", "a Git LFS pointer"},
      {std::string("PK\x03\x04\x00\x00", 6), "a ZIP archive"},
      {R"({"error": "not found"})", "JSON text"},
      {"Not found", "a text file"},
      {std::string("\x10\0\0\0\0\0\0\0{\"a\":{}}", 16), "a single safetensors file"},
      {std::string("\x01\x02\0\0\x05", 5), "an unknown format"},
      {model.substr(0, model.size() - 3), "general.name"}};
  for (const auto& [content, kind] : cases) {
    const auto pulled = pull(
        store_,
        {.reference = write("m.gguf", content).string(), .name = "", .sha256 = "", .hub_base = ""},
        events_);
    ASSERT_FALSE(pulled.has_value()) << kind;
    EXPECT_EQ(pulled.error().code, ErrorCode::kCorrupt) << pulled.error().message;
    EXPECT_NE(pulled.error().message.find(kind), std::string::npos) << pulled.error().message;
  }
  EXPECT_TRUE(store_.list().value().empty());
}

RC_GTEST_PROP(KindOfFile, AnyFirstBytesAreNamed, (const std::string& bytes)) {
  RC_ASSERT(!kind_of_file(bytes).empty());
}

TEST_F(Pull, APipThatCannotBeStartedSaysWhatToInstall) {
  setenv("EDGEWISE_PYTHON", "/no/such/python", 1);
  const auto model = pull_from_catalogue(store_, two_parts("x"), "two", events_);
  unsetenv("EDGEWISE_PYTHON");
  ASSERT_FALSE(model.has_value());
  EXPECT_EQ(model.error().code, ErrorCode::kUnavailable);
  EXPECT_NE(model.error().message.find("pip"), std::string::npos);
}

TEST(Catalogue, PinsEveryFile) {
  for (const CatalogueModel& model : catalogue()) {
    EXPECT_TRUE(is_valid_name(model.name));
    EXPECT_FALSE(model.packages.empty());
    for (const std::string& package : model.packages) {
      EXPECT_NE(package.find("=="), std::string::npos) << package;
    }
    for (const CatalogueFile& file : model.files) {
      EXPECT_TRUE(platform::is_sha256(file.sha256)) << file.path;
      EXPECT_GT(file.bytes, 0) << file.path;
      EXPECT_TRUE(is_valid_relative_path(file.path)) << file.path;
    }
    EXPECT_TRUE(model.is_folder() || model.files.size() == 1) << model.name;
  }
}

}  // namespace
}  // namespace edgewise::store
