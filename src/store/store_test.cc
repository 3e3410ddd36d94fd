#include "store/store.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include "platform/sha256.h"
#include "store/disk.h"
#include "store/file_lock.h"
#include "store/manifest.h"
#include "store/test_support.h"

namespace edgewise::store {
namespace {

class ModelStore : public StoreTest {
 protected:
  Store store_ = Store::open(folder_ / "root").value();

  StagedFile stage(const std::string& path, const std::string& text) const {
    return {
        .file = {.path = path, .sha256 = platform::sha256_of_text(text), .bytes = std::ssize(text)},
        .at = write("staged/" + path, text)};
  }

  StoredModel add(const std::string& name, const std::string& path, const std::string& text) const {
    return store_.add(name, "from " + name, path, {stage(path, text)}).value();
  }

  int blobs() const {
    return static_cast<int>(
        std::distance(std::filesystem::directory_iterator(folder_ / "root/blobs"),
                      std::filesystem::directory_iterator()));
  }
};

// Vectors of FIPS 180-2, appendix B.
TEST(Sha256, MatchesTheStandardsVectors) {
  EXPECT_EQ(platform::sha256_of_text("abc"),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  EXPECT_EQ(platform::sha256_of_text("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq"),
            "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
}

TEST_F(ModelStore, IsEmptyBeforeItExists) {
  EXPECT_TRUE(store_.list().value().empty());
  EXPECT_FALSE(store_.find("anything").value().has_value());
  EXPECT_FALSE(std::filesystem::exists(folder_ / "root"));
}

TEST_F(ModelStore, GivesBackWhatWasAddedUnderItsOwnFileName) {
  const StoredModel model = add("one", "one.gguf", "weights");
  const StoredModel found = store_.find("one").value().value();
  EXPECT_EQ(found.source, "from one");
  EXPECT_EQ(found.bytes(), 7);
  EXPECT_EQ(store_.path_of(found).filename(), "one.gguf");
  EXPECT_EQ(read(store_.path_of(model)), "weights");
}

TEST_F(ModelStore, FindsByWhatItWasPulledFrom) {
  add("one", "one.gguf", "weights");
  EXPECT_EQ(store_.find("from one").value().value().name, "one");
}

TEST_F(ModelStore, FolderModelsKeepTheirTree) {
  const StoredModel model =
      store_
          .add("folder", "s", "",
               {stage("config.json", "{}"), stage("1_Pooling/config.json", "[]")})
          .value();
  EXPECT_EQ(read(store_.path_of(model) / "config.json"), "{}");
  EXPECT_EQ(read(store_.path_of(model) / "1_Pooling/config.json"), "[]");
}

TEST_F(ModelStore, MayBeMovedAsAWhole) {
  add("one", "one.gguf", "weights");
  std::filesystem::rename(folder_ / "root", folder_ / "moved");
  const Store moved = Store::open(folder_ / "moved").value();
  EXPECT_EQ(read(moved.path_of(moved.find("one").value().value())), "weights");
}

TEST_F(ModelStore, SharedBytesAreStoredOnceAndKeptUntilTheLastNameGoes) {
  add("one", "one.gguf", "same");
  const StoredModel two = add("two", "two.gguf", "same");
  EXPECT_EQ(blobs(), 1);
  EXPECT_EQ(store_.remove("one").value(), 0);
  EXPECT_EQ(read(store_.path_of(two)), "same");
  EXPECT_EQ(store_.remove("two").value(), 4);
  EXPECT_EQ(blobs(), 0);
  EXPECT_TRUE(store_.list().value().empty());
}

TEST_F(ModelStore, ANameCanBePointedElsewhere) {
  add("one", "one.gguf", "old");
  add("one", "one.gguf", "newer");
  const auto models = store_.list().value();
  ASSERT_EQ(models.size(), 1U);
  EXPECT_EQ(read(store_.path_of(models[0])), "newer");
}

TEST_F(ModelStore, AnOpenFileOutlivesItsRemoval) {
  const StoredModel model = add("one", "one.gguf", "weights");
  std::ifstream reader(store_.path_of(model));
  ASSERT_TRUE(store_.remove("one"));
  std::string text;
  reader >> text;
  EXPECT_EQ(text, "weights");
}

TEST_F(ModelStore, RefusesNamesThatCouldLeaveItsFolder) {
  for (const char* name : {"", "..", ".hidden", "a/b", "-x", "a b", "x\n"}) {
    EXPECT_EQ(store_.add(name, "s", "f", {stage("f", "x")}).error().code,
              ErrorCode::kInvalidArgument)
        << name;
    EXPECT_EQ(store_.remove(name).error().code, ErrorCode::kNotFound) << name;
  }
}

TEST_F(ModelStore, RemovingWhatIsNotThereSaysSo) {
  EXPECT_EQ(store_.remove("nothing").error().code, ErrorCode::kNotFound);
}

TEST_F(ModelStore, ADamagedManifestIsNamedAndCostsNoBlob) {
  add("good", "good.gguf", "bytes");
  add("bad", "bad.gguf", "others");
  write("root/models/bad/manifest.json", "{\"version\": 1, ");
  const auto listed = store_.list();
  ASSERT_FALSE(listed.has_value());
  EXPECT_EQ(listed.error().code, ErrorCode::kCorrupt);
  EXPECT_NE(listed.error().message.find("bad"), std::string::npos);
  EXPECT_FALSE(store_.remove("good").has_value());  // cannot tell which blobs are in use
  EXPECT_EQ(blobs(), 2);
}

TEST_F(ModelStore, AnInterruptedAddLeavesTheOldModel) {
  add("one", "one.gguf", "old");
  write("root/models/.new-one/files/half", "x");  // as after a crash
  EXPECT_EQ(store_.list().value().size(), 1U);
  add("one", "one.gguf", "new");
  EXPECT_FALSE(std::filesystem::exists(folder_ / "root/models/.new-one"));
}

TEST_F(ModelStore, RemovesDownloadsThatNobodyWorksOn) {
  write("root/partial/idle/file", "12345");
  write("root/partial/idle.lock", "");
  write("root/partial/busy/file", "123");
  const FileLock lock = FileLock::acquire(folder_ / "root/partial/busy.lock", {}).value();
  EXPECT_EQ(store_.remove_partial().value(), 5);
  EXPECT_FALSE(std::filesystem::exists(folder_ / "root/partial/idle"));
  EXPECT_TRUE(std::filesystem::exists(folder_ / "root/partial/busy/file"));
}

TEST(Manifest, RefusesPathsThatLeaveTheFolder) {
  const StoredModel evil{
      .name = "x", .source = "s", .entry = "", .files = {{"../../x", std::string(64, 'a'), 1}}};
  EXPECT_EQ(manifest_from_json(manifest_to_json(evil), "m").error().code, ErrorCode::kCorrupt);
}

RC_GTEST_PROP(Manifest, RoundTrips, (const std::string& source, std::uint32_t bytes)) {
  // The source is text: JSON has no place for other bytes.
  std::string ascii;
  for (const char c : source) {
    ascii += static_cast<char>(c & 0x7F);
  }
  const StoredModel model{.name = "",
                          .source = ascii,
                          .entry = "a/b.gguf",
                          .files = {{"a/b.gguf", std::string(64, '0'), bytes}}};
  const StoredModel back = manifest_from_json(manifest_to_json(model), "m").value();
  RC_ASSERT(back.source == model.source);
  RC_ASSERT(back.entry == model.entry);
  RC_ASSERT(back.files.at(0).bytes == std::int64_t{bytes});
}

RC_GTEST_PROP(Manifest, AnyBytesAreSurvived, (const std::string& text)) {
  RC_ASSERT(!manifest_from_json(text, "m").has_value());
}

TEST_F(ModelStore, TooLittleSpaceIsSaidBeforeItRunsOut) {
  const auto checked = check_free_space(folder_, std::int64_t{1} << 60);
  ASSERT_FALSE(checked.has_value());
  EXPECT_EQ(checked.error().code, ErrorCode::kResourceExhausted);
}

TEST_F(ModelStore, AFullDiskIsExhaustion) {
  EXPECT_EQ(io_error("cannot write", "/x", ENOSPC).value().code, ErrorCode::kResourceExhausted);
}

TEST_F(ModelStore, PackedFormsGoWithTheirModel) {
  const StoredModel one = add("one", "one.gguf", "weights");
  const StoredModel two = add("two", "two.gguf", "other weights");
  const auto first = store_.packed_folder(store_.path_of(one)).value();
  const auto second = store_.packed_folder(store_.path_of(two)).value();
  EXPECT_NE(first, second);
  EXPECT_EQ(first, folder_ / "root/packed" / one.files[0].sha256);
  write("root/packed/" + one.files[0].sha256 + "/layout.packed", "12345");
  write("root/packed/" + two.files[0].sha256 + "/layout.packed", "123");
  EXPECT_EQ(store_.remove("one").value(), 7 + 5);
  EXPECT_FALSE(std::filesystem::exists(first));
  EXPECT_TRUE(std::filesystem::exists(second));
}

TEST_F(ModelStore, FilesOutsideHavePackedFoldersToo) {
  const auto path = write("elsewhere/model.gguf", "weights");
  const auto folder = store_.packed_folder(path).value();
  EXPECT_EQ(folder.parent_path(), folder_ / "root/packed");
  EXPECT_FALSE(std::filesystem::exists(folder_ / "root")) << "nothing is created by asking";
  std::filesystem::create_symlink(path, folder_ / "elsewhere/link.gguf");
  EXPECT_EQ(store_.packed_folder(folder_ / "elsewhere/link.gguf").value(), folder);
  EXPECT_NE(store_.packed_folder(write("elsewhere/b.gguf", "weights")).value(), folder);
  EXPECT_FALSE(store_.packed_folder(folder_ / "absent").has_value());
}

TEST_F(ModelStore, AllPackedFormsCanBeRemoved) {
  write("root/packed/file-1-2/layout.packed", "12345");
  write("root/packed/file-1-3/layout.packed", "123");
  EXPECT_EQ(store_.remove_packed().value(), 8);
  EXPECT_FALSE(std::filesystem::exists(folder_ / "root/packed"));
  EXPECT_EQ(store_.remove_packed().value(), 0);
}

}  // namespace
}  // namespace edgewise::store
