#include "cache/page_store.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <ctime>
#include <thread>
#include <tuple>
#include <utility>

#include "base/log.h"
#include "platform/checksum.h"
#include "platform/nameless_file.h"

namespace edgewise::cache {
namespace {

namespace fs = std::filesystem;

constexpr std::int64_t kHeaderBytes = 4096;  // so that the block begins a memory page
constexpr std::string_view kMagic = "edgewise KV page 1\n";
constexpr std::int64_t kPeriod = 60;  // seconds; uses within it count as at once
constexpr std::int64_t kMostDepth = 999'999'999;
constexpr int kLockTries = 100;
constexpr std::chrono::milliseconds kLockPause{2};

std::string name_of(const PageKey& key) {
  return platform::to_hex(key);
}

// Now, in a form in which the later pages of one text look older than its first, without which
// they are of no use.
timespec time_of_use(std::int64_t depth) {
  return {std::time(nullptr) / kPeriod * kPeriod, kMostDepth - std::min(depth, kMostDepth)};
}

bool set_time_of_use(int folder, const std::string& name, std::int64_t depth) {
  const timespec now = time_of_use(depth);
  const timespec times[2] = {now, now};
  return ::utimensat(folder, name.c_str(), times, AT_SYMLINK_NOFOLLOW) == 0;
}

// Held by one process at a time, while it counts and writes.
class FolderLock {
 public:
  static Result<FolderLock> acquire(int folder) {
    for (int i = 0; i < kLockTries; ++i) {
      if (::flock(folder, LOCK_EX | LOCK_NB) == 0) {
        return FolderLock(folder);
      }
      std::this_thread::sleep_for(kLockPause);
    }
    return fail(ErrorCode::kUnavailable, "another process holds the folder");
  }

  FolderLock(FolderLock&& other) noexcept : folder_(std::exchange(other.folder_, -1)) {}

  FolderLock& operator=(FolderLock&&) = delete;

  ~FolderLock() {
    if (folder_ >= 0) {
      ::flock(folder_, LOCK_UN);
    }
  }

 private:
  explicit FolderLock(int folder) : folder_(folder) {}

  int folder_;
};

}  // namespace

struct PageStore::Listing {
  struct File {
    timespec used{};
    std::int64_t bytes = 0;
    std::string name;
  };

  std::vector<File> files;
  std::int64_t bytes = 0;
};

PageStore::PageStore(platform::FileDescriptor folder,
                     std::int64_t page_bytes,
                     std::int64_t budget_bytes)
    : folder_(std::move(folder)), page_bytes_(page_bytes), budget_bytes_(budget_bytes) {}

Result<std::unique_ptr<PageStore>> PageStore::open(const fs::path& folder,
                                                   std::int64_t page_bytes,
                                                   std::int64_t budget_bytes) {
  if (budget_bytes < page_bytes + kHeaderBytes) {
    return fail(ErrorCode::kInvalidArgument, "{} bytes on disk do not hold one page of {}",
                budget_bytes, page_bytes + kHeaderBytes);
  }
  std::error_code error;
  fs::create_directories(folder.parent_path(), error);
  if (error || (::mkdir(folder.c_str(), 0700) != 0 && errno != EEXIST)) {
    return fail(ErrorCode::kIo, "cannot create {}: {}", folder.string(),
                error ? error.message() : std::strerror(errno));
  }
  platform::FileDescriptor opened(
      ::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW));
  struct stat status{};
  if (opened.get() < 0 || ::fstat(opened.get(), &status) != 0) {
    return fail(ErrorCode::kIo, "cannot open the folder {}: {}", folder.string(),
                std::strerror(errno));
  }
  const bool is_ours = status.st_uid == ::geteuid() || status.st_uid == 0;
  if (!is_ours || (status.st_mode & (S_IWGRP | S_IWOTH)) != 0) {
    return fail(ErrorCode::kPermissionDenied, "other users can write to {}", folder.string());
  }
  std::unique_ptr<PageStore> store(new PageStore(std::move(opened), page_bytes, budget_bytes));
  const Listing listing = store->list();
  store->pages_ = std::ssize(listing.files);
  store->bytes_ = listing.bytes;
  return store;
}

std::vector<std::byte> PageStore::header_of(const PageKey& key, std::uint64_t checksum) const {
  std::vector<std::byte> header(kHeaderBytes);
  const std::string text = fmt::format("{}key {}\nbytes {}\nchecksum {:016x}\n", kMagic,
                                       name_of(key), page_bytes_, checksum);
  std::memcpy(header.data(), text.data(), text.size());
  return header;
}

std::vector<Page> PageStore::load(std::span<const PageKey> keys,
                                  std::int64_t depth,
                                  double most_seconds) {
  for (const PageKey& key : keys) {  // the disk begins with all of them
    const platform::FileDescriptor file(::openat(folder_.get(), name_of(key).c_str(),
                                                 O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOFOLLOW));
    if (file.get() < 0) {
      break;
    }
    ::posix_fadvise(file.get(), 0, 0, POSIX_FADV_WILLNEED);
  }
  std::vector<Page> pages;
  for (const PageKey& key : keys) {
    const auto begin = std::chrono::steady_clock::now();
    Result<Page> page = open_page(key);
    if (!page) {
      break;
    }
    pages.push_back(std::move(*page));
    set_time_of_use(folder_.get(), name_of(key), depth++);
    const std::chrono::duration<double> took = std::chrono::steady_clock::now() - begin;
    if (took.count() > most_seconds) {
      break;
    }
  }
  found_ += std::ssize(pages);
  return pages;
}

Result<Page> PageStore::open_page(const PageKey& key) {
  const std::string name = name_of(key);
  const auto refuse = [&](const char* why) {
    ++refused_;
    ::unlinkat(folder_.get(), name.c_str(), 0);
    log(LogLevel::kWarning, "a KV page on disk is not used, and removed: it {} ({})", why, name);
    return fail(ErrorCode::kCorrupt, "it {}", why);
  };
  Result<platform::MappedFile> file = platform::MappedFile::open_in(folder_.get(), name);
  if (!file) {
    const ErrorCode code = file.error().code;
    if (code == ErrorCode::kInvalidArgument || code == ErrorCode::kPermissionDenied) {
      return refuse("is no file of ours");
    }
    return tl::unexpected<Error>(std::move(file).error());
  }
  if (file->others_can_write()) {  // the checksum is no signature
    return refuse("can be changed by other users");
  }
  const std::span<const std::byte> bytes = file->bytes();
  if (std::ssize(bytes) != kHeaderBytes + page_bytes_) {
    return refuse("has another size");
  }
  if (!file->read_all()) {
    return refuse("cannot be read");
  }
  const std::vector<std::byte> expected =
      header_of(key, platform::checksum(bytes.subspan(kHeaderBytes)));
  if (std::memcmp(bytes.data(), expected.data(), expected.size()) != 0) {
    return refuse("is damaged");
  }
  return Page(std::move(*file), kHeaderBytes);
}

Result<void> PageStore::store(const PageKey& key,
                              std::int64_t depth,
                              std::span<const std::byte> bytes) {
  const MutexLock one(writing_);
  const FolderLock lock = TRY(FolderLock::acquire(folder_.get()));
  const std::string name = name_of(key);
  if (touch(key, depth)) {
    return {};
  }
  const std::int64_t size = kHeaderBytes + page_bytes_;
  make_room(size);
  platform::NamelessFile file = TRY(platform::NamelessFile::create(folder_.get(), 0600, size));
  TRY_VOID(file.write(header_of(key, platform::checksum(bytes)), 0));
  TRY_VOID(file.write(bytes, kHeaderBytes));
  if (TRY(file.appear_in(folder_.get(), name.c_str()))) {
    set_time_of_use(folder_.get(), name, depth);
    ++written_;
    ++pages_;
    bytes_ += size;
  }
  return {};
}

bool PageStore::touch(const PageKey& key, std::int64_t depth) {
  return set_time_of_use(folder_.get(), name_of(key), depth);
}

// Until so much more fits the budget. Under the lock.
void PageStore::make_room(std::int64_t bytes) {
  Listing listing = list();
  std::sort(listing.files.begin(), listing.files.end(),
            [](const Listing::File& a, const Listing::File& b) {
              return std::tie(a.used.tv_sec, a.used.tv_nsec, a.name) <
                     std::tie(b.used.tv_sec, b.used.tv_nsec, b.name);
            });
  std::int64_t left = std::ssize(listing.files);
  for (const Listing::File& file : listing.files) {
    if (listing.bytes + bytes <= budget_bytes_) {
      break;
    }
    if (::unlinkat(folder_.get(), file.name.c_str(), 0) == 0) {
      listing.bytes -= file.bytes;
      ++evicted_;
      --left;
    }
  }
  pages_ = left;
  bytes_ = listing.bytes;
}

// Files that are none of ours are neither counted nor removed.
PageStore::Listing PageStore::list() const {
  Listing listing;
  const int again = ::openat(folder_.get(), ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  const std::unique_ptr<DIR, int (*)(DIR*)> folder(again < 0 ? nullptr : ::fdopendir(again),
                                                   &::closedir);
  if (folder == nullptr) {
    return listing;
  }
  while (const dirent* entry = ::readdir(folder.get())) {
    struct stat status{};
    if (platform::is_sha256(entry->d_name) &&
        ::fstatat(folder_.get(), entry->d_name, &status, AT_SYMLINK_NOFOLLOW) == 0 &&
        S_ISREG(status.st_mode)) {
      listing.files.push_back({status.st_mtim, status.st_size, entry->d_name});
      listing.bytes += status.st_size;
    }
  }
  return listing;
}

PageStoreStats PageStore::stats() const {
  return {found_, refused_, written_, evicted_, pages_, bytes_};
}

}  // namespace edgewise::cache
