// Packed weights on disk: the same logits with and without the file, whatever state it is in.
#include "model/packed_file.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <fstream>
#include <random>

#include "model/test_support.h"
#include "tensor/model_file.h"

namespace edgewise::model {
namespace {

namespace fs = std::filesystem;

class PackedFileTest : public ::testing::TestWithParam<std::string> {
 protected:
  PackedFileTest() {
    std::string name = (fs::temp_directory_path() / "edgewise-packed-XXXXXX").string();
    folder_ = mkdtemp(name.data());
    model_ = folder_ / "model.gguf";
    fs::copy_file(testing::tiny_model(GetParam()), model_);
  }

  ~PackedFileTest() override {
    std::error_code ignored;
    fs::permissions(folder_, fs::perms::owner_all, ignored);
    fs::remove_all(folder_, ignored);
  }

  fs::path packed() const { return packed_file_in(folder_ / "packed"); }

  struct Start {
    testing::Logits logits;
    bool had_to_pack = false;
  };

  // Loads, computes, and ends (which waits for the file).
  Start start(const fs::path& folder) const {
    platform::WorkerPool pool(2);
    kernels::Ops ops(pool, *kernels::supported_tables().back());
    auto file = std::make_shared<const tensor::ModelFile>(tensor::ModelFile::open(model_).value());
    Start result;
    const auto model = Model::load(file, ops,
                                   {.packed_folder = folder,
                                    .on_progress = [&](double) { result.had_to_pack = true; }})
                           .value();
    const auto cache = cache::KvCache::create(model->kv_shapes(), 1).value();
    const std::vector<cache::BlockId> blocks{cache->allocate().value()};
    const auto tokens = testing::random_tokens(model->spec().vocab, 5, 3);
    const StepPlan plan{{{tokens, 0, blocks, Want::kAllLogits}}};
    for (const auto row : model->forward(plan, *cache).rows) {
      result.logits.emplace_back(row.begin(), row.end());
    }
    return result;
  }

  Start start() const { return start(folder_ / "packed"); }

  void expect_replaced(const testing::Logits& expected) const {
    const Start damaged = start();
    EXPECT_TRUE(damaged.had_to_pack);
    EXPECT_EQ(damaged.logits, expected);
    const Start after = start();
    EXPECT_FALSE(after.had_to_pack) << "the file was not replaced";
    EXPECT_EQ(after.logits, expected);
  }

  fs::path folder_;
  fs::path model_;
};

TEST_P(PackedFileTest, TheSecondStartMapsWhatTheFirstHasPacked) {
  const Start without = start({});
  const Start first = start();
  const Start second = start();
  EXPECT_TRUE(without.had_to_pack);
  EXPECT_TRUE(first.had_to_pack);
  EXPECT_FALSE(second.had_to_pack);
  EXPECT_EQ(first.logits, without.logits);
  EXPECT_EQ(second.logits, without.logits);
}

TEST_P(PackedFileTest, ATruncatedFileIsReplaced) {
  const Start first = start();
  const auto size = fs::file_size(packed());
  for (const auto kept : {std::uintmax_t{0}, std::uintmax_t{100}, size / 2, size - 1}) {
    fs::resize_file(packed(), kept);
    expect_replaced(first.logits);
  }
  fs::resize_file(packed(), size + 1);
  expect_replaced(first.logits);
}

TEST_P(PackedFileTest, AnyChangedByteIsNoticed) {
  const Start first = start();
  std::mt19937 rng(1);
  const auto size = fs::file_size(packed());
  for (int i = 0; i < 10; ++i) {
    const auto at = i == 0 ? 0 : i == 1 ? size - 1 : rng() % size;
    std::fstream file(packed(), std::ios::in | std::ios::out | std::ios::binary);
    file.seekg(static_cast<std::streamoff>(at));
    const int old = file.get();
    file.seekp(static_cast<std::streamoff>(at));
    file.put(static_cast<char>(old ^ (1 << i % 8)));
    file.close();
    const Start damaged = start();  // a flip in the padding of the header may go unseen
    EXPECT_EQ(damaged.logits, first.logits) << "byte " << at;
  }
}

TEST_P(PackedFileTest, GarbageOfTheRightSizeIsReplaced) {
  const Start first = start();
  const auto size = fs::file_size(packed());
  std::mt19937 rng(2);
  std::string garbage(size, '\0');
  std::ranges::generate(garbage, [&] { return static_cast<char>(rng()); });
  std::ofstream(packed(), std::ios::binary) << garbage;
  expect_replaced(first.logits);
}

TEST_P(PackedFileTest, AModelThatChangedInPlaceIsPackedAnew) {
  start();
  {  // another last byte: another weight, the same size and inode
    std::fstream file(model_, std::ios::in | std::ios::out | std::ios::binary);
    file.seekg(-1, std::ios::end);
    const int old = file.get();
    file.seekp(-1, std::ios::end);
    file.put(static_cast<char>(old ^ 1));
  }
  const Start changed = start();
  EXPECT_TRUE(changed.had_to_pack);
  EXPECT_EQ(changed.logits, start({}).logits);
}

TEST_P(PackedFileTest, OtherLayoutsInTheFolderGoAway) {
  fs::create_directories(folder_ / "packed");
  std::ofstream(folder_ / "packed" / "0123456789abcdef.packed") << "of an older program";
  start();
  EXPECT_FALSE(fs::exists(folder_ / "packed" / "0123456789abcdef.packed"));
  EXPECT_TRUE(fs::exists(packed()));
}

TEST_P(PackedFileTest, OnlyPackedFilesGoAway) {
  fs::create_directories(folder_ / "packed");
  std::ofstream(folder_ / "packed" / "letter.txt") << "of somebody else";
  start();
  EXPECT_TRUE(fs::exists(folder_ / "packed" / "letter.txt"));
}

TEST_P(PackedFileTest, AFolderThatIsALinkIsNotWritten) {
  fs::create_directories(folder_ / "elsewhere");
  std::ofstream(folder_ / "elsewhere" / "0123456789abcdef.packed") << "of somebody else";
  fs::create_directory_symlink(folder_ / "elsewhere", folder_ / "packed");
  EXPECT_TRUE(start().had_to_pack);
  EXPECT_EQ(std::distance(fs::directory_iterator(folder_ / "elsewhere"), {}), 1);
}

TEST_P(PackedFileTest, AFileThatOthersCanChangeIsReplaced) {
  const Start first = start();
  fs::permissions(packed(), fs::perms::others_write, fs::perm_options::add);
  expect_replaced(first.logits);
  EXPECT_EQ(fs::status(packed()).permissions() & fs::perms::others_write, fs::perms::none);
}

TEST_P(PackedFileTest, AFolderThatCannotBeWrittenIsNoError) {
  std::ofstream(folder_ / "file") << "not a folder";
  const Start blocked = start(folder_ / "file" / "packed");
  EXPECT_TRUE(blocked.had_to_pack);
  EXPECT_EQ(blocked.logits, start({}).logits);
}

TEST_P(PackedFileTest, AWriterThatIsStoppedLeavesNothing) {
  std::vector<std::byte> panels(64 << 20);
  const fs::path path = packed_file_in(folder_ / "stopped");
  {
    const PackedFileWriter writer(path, "label", panels);
  }
  platform::WorkerPool pool(1);
  if (fs::exists(path)) {  // fast enough to finish: then it is whole
    EXPECT_TRUE(map_packed_file(path, "label", std::ssize(panels), pool).has_value());
  }
  EXPECT_FALSE(map_packed_file(path, "labe", std::ssize(panels), pool).has_value());
  EXPECT_FALSE(map_packed_file(path, "label2", std::ssize(panels), pool).has_value());
}

TEST_P(PackedFileTest, TwoWritersAtOnceLeaveOneWholeFile) {
  std::vector<std::byte> panels(3 << 20, std::byte{7});
  const fs::path path = packed_file_in(folder_ / "both");
  {
    PackedFileWriter one(path, "label", panels);
    PackedFileWriter two(path, "label", panels);
    one.wait();
    two.wait();
  }
  platform::WorkerPool pool(2);
  const auto mapped = map_packed_file(path, "label", std::ssize(panels), pool);
  ASSERT_TRUE(mapped.has_value());
  EXPECT_TRUE(std::ranges::equal(mapped->view(), panels));
  EXPECT_EQ(std::distance(fs::directory_iterator(folder_ / "both"), {}), 1);
}

INSTANTIATE_TEST_SUITE_P(Models,
                         PackedFileTest,
                         ::testing::Values("llama_k_quants", "qwen3moe_q8"));

}  // namespace
}  // namespace edgewise::model
