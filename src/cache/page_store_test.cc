// Pages on disk: what is stored comes back, whatever is done to the files nothing else does, and the
// budget holds, also for several at once.
#include "cache/page_store.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>
#include <sys/file.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstdlib>
#include <fstream>
#include <map>
#include <thread>

namespace edgewise::cache {
namespace {

namespace fs = std::filesystem;

constexpr std::int64_t kPageBytes = 8192;
constexpr std::int64_t kFileBytes = 4096 + kPageBytes;
constexpr double kPatient = 1e9;

PageKey key_of(int number) {
  platform::Sha256 sum;
  sum.add(std::as_bytes(std::span(&number, 1)));
  return sum.finish();
}

std::vector<std::byte> content_of(int number) {
  std::vector<std::byte> bytes(kPageBytes);
  for (std::size_t i = 0; i < bytes.size(); ++i) {
    bytes[i] = static_cast<std::byte>((i * 31 + static_cast<std::size_t>(number) * 7) % 251);
  }
  return bytes;
}

class PageStoreTest : public ::testing::Test {
 public:
  PageStoreTest() {
    std::string name = (fs::temp_directory_path() / "edgewise-pages-XXXXXX").string();
    root_ = mkdtemp(name.data());
  }

  ~PageStoreTest() override { fs::remove_all(root_); }

  std::unique_ptr<PageStore> open(std::int64_t pages = 100) const {
    return PageStore::open(folder(), kPageBytes, pages * kFileBytes).value();
  }

  fs::path folder() const { return root_ / "kv"; }

  fs::path file(int number) const { return folder() / platform::to_hex(key_of(number)); }

  fs::path root_;
};

void put(PageStore& store, int number, std::int64_t depth = 0) {
  const Result<void> stored = store.store(key_of(number), depth, content_of(number));
  ASSERT_TRUE(stored.has_value()) << stored.error().message;
}

bool has(PageStore& store, int number) {
  const std::vector<PageKey> keys{key_of(number)};
  const std::vector<Page> pages = store.load(keys, 0, kPatient);
  return pages.size() == 1 && std::ranges::equal(pages[0].bytes(), content_of(number));
}

TEST_F(PageStoreTest, GivesBackWhatWasStoredAlsoToTheNextProcess) {
  put(*open(), 1);
  const auto store = open();
  EXPECT_TRUE(has(*store, 1));
  EXPECT_FALSE(has(*store, 2));
  EXPECT_EQ(store->stats().found_total, 1);
  EXPECT_EQ(store->stats().pages, 1);
  EXPECT_EQ(store->stats().bytes, kFileBytes);
  EXPECT_EQ(store->stats().refused_total, 0);
}

TEST_F(PageStoreTest, LoadsUpToTheFirstThatIsMissing) {
  const auto store = open();
  const std::vector<PageKey> keys{key_of(0), key_of(1), key_of(2), key_of(3)};
  for (const int number : {0, 1, 3}) {
    put(*store, number);
  }
  EXPECT_EQ(store->load(keys, 0, kPatient).size(), 2U);
  EXPECT_EQ(store->load(keys, 0, 0.0).size(), 1U) << "reading takes too long";
}

TEST_F(PageStoreTest, APageOutlivesItsFile) {
  const auto store = open();
  put(*store, 1);
  const std::vector<PageKey> keys{key_of(1)};
  const std::vector<Page> pages = store->load(keys, 0, kPatient);
  fs::remove(file(1));
  EXPECT_TRUE(std::ranges::equal(pages.at(0).bytes(), content_of(1)));
}

TEST_F(PageStoreTest, FilesAndFolderArePrivate) {
  put(*open(), 1);
  EXPECT_EQ(fs::status(folder()).permissions(), fs::perms::owner_all);
  EXPECT_EQ(fs::status(file(1)).permissions(), fs::perms::owner_read | fs::perms::owner_write);
}

TEST_F(PageStoreTest, StaysWithinItsBudgetAndDropsWhatWasUsedLongestAgo) {
  const auto store = open(3);
  for (int number = 0; number < 3; ++number) {
    put(*store, number);
    const auto past = fs::file_time_type::clock::now() - std::chrono::hours(10 - number);
    fs::last_write_time(file(number), past);
  }
  EXPECT_TRUE(has(*store, 0));  // used just now
  put(*store, 3);
  EXPECT_EQ(store->stats().evicted_total, 1);
  EXPECT_EQ(store->stats().bytes, 3 * kFileBytes);
  EXPECT_TRUE(has(*store, 0));
  EXPECT_FALSE(has(*store, 1));
  EXPECT_TRUE(store->touch(key_of(2), 0));
  EXPECT_FALSE(store->touch(key_of(1), 0));
}

TEST_F(PageStoreTest, OfOneTextTheEndGoesFirst) {
  const auto store = open(4);
  for (int number = 0; number < 4; ++number) {
    put(*store, number, number);
  }
  const std::vector<PageKey> keys{key_of(0), key_of(1), key_of(2), key_of(3)};
  EXPECT_EQ(store->load(keys, 0, kPatient).size(), 4U);
  put(*store, 10, 0);
  put(*store, 11, 1);
  EXPECT_EQ(store->load(keys, 0, kPatient).size(), 2U);
}

TEST_F(PageStoreTest, ATruncatedFileIsRemoved) {
  const auto store = open();
  for (const std::int64_t kept :
       {std::int64_t{0}, std::int64_t{100}, std::int64_t{4096}, kFileBytes - 1, kFileBytes + 1}) {
    put(*store, 1);
    fs::resize_file(file(1), static_cast<std::uintmax_t>(kept));
    EXPECT_FALSE(has(*store, 1)) << kept;
    EXPECT_FALSE(fs::exists(file(1)));
  }
  EXPECT_EQ(store->stats().refused_total, 5);
}

TEST_F(PageStoreTest, AnyChangedBitIsNoticed) {
  const auto store = open();
  for (int i = 0; i < 200; ++i) {
    put(*store, 1);
    const auto at = i < 100 ? i * 2 : (i * 7919) % kFileBytes;  // the header's text, then anywhere
    {
      std::fstream changed(file(1), std::ios::in | std::ios::out | std::ios::binary);
      changed.seekg(at);
      const int old = changed.get();
      changed.seekp(at);
      changed.put(static_cast<char>(old ^ (1 << i % 8)));
    }
    EXPECT_FALSE(has(*store, 1)) << "byte " << at;
  }
}

TEST_F(PageStoreTest, APageUnderAnotherNameIsNoticed) {
  const auto store = open();
  put(*store, 1);
  fs::rename(file(1), file(2));
  EXPECT_FALSE(has(*store, 2));
  EXPECT_EQ(store->stats().refused_total, 1);
}

TEST_F(PageStoreTest, HostileFilesAreNotUsedAndDoNotHang) {
  const auto store = open();
  put(*store, 1);
  fs::permissions(file(1), fs::perms::others_write, fs::perm_options::add);
  EXPECT_FALSE(has(*store, 1)) << "writable by others";
  put(*store, 1);
  fs::rename(file(1), root_ / "elsewhere");
  fs::create_symlink(root_ / "elsewhere", file(1));
  EXPECT_FALSE(has(*store, 1)) << "a link";
  EXPECT_TRUE(fs::exists(root_ / "elsewhere"));
  ASSERT_EQ(mkfifo(file(1).c_str(), 0600), 0);
  EXPECT_FALSE(has(*store, 1)) << "a pipe";
  fs::create_directory(file(1));
  EXPECT_FALSE(has(*store, 1)) << "a folder";
  fs::remove(file(1));
  put(*store, 1);
  EXPECT_TRUE(has(*store, 1));
}

TEST_F(PageStoreTest, OtherFilesInTheFolderAreLeftAlone) {
  const auto store = open(1);
  std::ofstream(folder() / "letter.txt") << "of somebody else";
  put(*store, 1);
  put(*store, 2);
  EXPECT_TRUE(fs::exists(folder() / "letter.txt"));
  EXPECT_FALSE(fs::exists(file(1)));
}

TEST_F(PageStoreTest, AFolderThatOthersCanWriteOrThatIsALinkIsRefused) {
  fs::create_directories(folder());
  fs::permissions(folder(), fs::perms::all);
  EXPECT_EQ(PageStore::open(folder(), kPageBytes, 1 << 20).error().code,
            ErrorCode::kPermissionDenied);
  fs::create_directories(root_ / "real");
  fs::create_directory_symlink(root_ / "real", root_ / "link");
  EXPECT_FALSE(PageStore::open(root_ / "link", kPageBytes, 1 << 20).has_value());
  std::ofstream(root_ / "plain") << "not a folder";
  EXPECT_FALSE(PageStore::open(root_ / "plain", kPageBytes, 1 << 20).has_value());
  EXPECT_FALSE(PageStore::open(root_ / "plain" / "kv", kPageBytes, 1 << 20).has_value());
  EXPECT_FALSE(PageStore::open(root_ / "small", kPageBytes, kPageBytes).has_value());
}

TEST_F(PageStoreTest, AFolderThatVanishesIsAnErrorOfThatPage) {
  const auto store = open();
  put(*store, 1);
  fs::remove_all(folder());
  EXPECT_FALSE(has(*store, 1));
  EXPECT_FALSE(store->store(key_of(2), 0, content_of(2)).has_value());
}

std::uintmax_t bytes_while_nobody_writes(const fs::path& folder) {
  const platform::FileDescriptor lock(::open(folder.c_str(), O_RDONLY | O_DIRECTORY));
  EXPECT_EQ(::flock(lock.get(), LOCK_EX), 0);
  std::uintmax_t bytes = 0;
  for (const auto& entry : fs::directory_iterator(folder)) {
    bytes += entry.file_size();
  }
  return bytes;
}

// Processes that write at once, each its own pages and all the same ones, some of them killed.
TEST_F(PageStoreTest, ProcessesShareTheFolderAndMayBeKilledAnyTime) {
  constexpr int kProcesses = 4;
  constexpr std::int64_t kPages = 10;
  std::vector<pid_t> children;
  for (int process = 0; process < kProcesses; ++process) {
    const pid_t child = ::fork();
    ASSERT_GE(child, 0);
    if (child == 0) {
      ::prctl(PR_SET_PDEATHSIG, SIGKILL);
      const auto store = open(kPages);
      for (int i = 0;; ++i) {
        const int number = i % 2 == 0 ? i % 30 : 1000 * process + i % 30;
        static_cast<void>(store->store(key_of(number), 0, content_of(number)));
      }
    }
    children.push_back(child);
  }
  const auto store = open(kPages);
  std::int64_t found = 0;
  for (int i = 0; i < 300; ++i) {
    const int number = i % 30;
    const std::vector<PageKey> keys{key_of(number)};
    for (const Page& page : store->load(keys, 0, kPatient)) {
      EXPECT_TRUE(std::ranges::equal(page.bytes(), content_of(number)));
      ++found;
    }
    EXPECT_LE(bytes_while_nobody_writes(folder()),
              static_cast<std::uintmax_t>(kPages * kFileBytes));
    if (i % 60 == 59 && children.size() > 1) {
      ::kill(children.back(), SIGKILL);
      ::waitpid(children.back(), nullptr, 0);
      children.pop_back();
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  for (const pid_t child : children) {
    ::kill(child, SIGKILL);
    ::waitpid(child, nullptr, 0);
  }
  EXPECT_GT(found, 0);
  EXPECT_EQ(store->stats().refused_total, 0) << "a file was seen half written";
  for (int number = 0; number < 20; ++number) {  // whoever was killed keeps nobody out
    put(*store, 5000 + number);
  }
  EXPECT_EQ(std::distance(fs::directory_iterator(folder()), {}), kPages);
}

RC_GTEST_PROP(PageStoreProperty, HoldsTheBudgetAndNeverGivesAnotherPage, ()) {
  std::string name = (fs::temp_directory_path() / "edgewise-pages-XXXXXX").string();
  const fs::path root = mkdtemp(name.data());
  const std::int64_t most = *rc::gen::inRange<std::int64_t>(1, 6);
  const auto open = [&] {
    return PageStore::open(root / "kv", kPageBytes, most * kFileBytes + *rc::gen::inRange(0, 5000))
        .value();
  };
  auto store = open();
  const auto steps = *rc::gen::container<std::vector<std::pair<int, int>>>(
      rc::gen::pair(rc::gen::inRange(0, 10), rc::gen::inRange(0, 12)));
  for (const auto& [what, number] : steps) {
    if (what < 5) {
      RC_ASSERT(store->store(key_of(number), number % 4, content_of(number)).has_value());
      RC_ASSERT(has(*store, number));
    } else if (what < 8) {
      const std::vector<PageKey> keys{key_of(number)};
      for (const Page& page : store->load(keys, 0, kPatient)) {
        RC_ASSERT(std::ranges::equal(page.bytes(), content_of(number)));
      }
    } else if (what == 8) {
      store = open();
    } else {
      fs::remove(root / "kv" / platform::to_hex(key_of(number)));
    }
    RC_ASSERT(std::distance(fs::directory_iterator(root / "kv"), {}) <= most);
  }
  fs::remove_all(root);
}

}  // namespace
}  // namespace edgewise::cache
