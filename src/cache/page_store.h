// KV blocks in files, to be mapped and read in place by this process, later ones and others beside it
// (docs/decisions/009-kv-pages-on-disk.md).
//
// A folder with one file per block, named by its key: whoever makes the key has put into it
// everything that decides the bytes. A file is a header that fills one memory page (magic, key, size, checksum),
// and the block as the kernels read it. Nothing in it is parsed: the reader makes the header that it
// expects and compares. What is truncated, damaged, misnamed or writable by others is removed and
// not used. Files appear whole or not at all, and the bytes of all together stay within a budget,
// also with several processes: the pages used longest ago go first, of one beginning the last first.
//
// Any thread. No failure here is more than a page that has to be computed again.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <vector>

#include "base/mutex.h"
#include "base/result.h"
#include "cache/page.h"
#include "platform/file_descriptor.h"
#include "platform/sha256.h"

namespace edgewise::cache {

using PageKey = platform::Digest;

struct PageStoreStats {            // since it was opened; gauges as last counted
  std::int64_t found_total = 0;    // pages mapped
  std::int64_t refused_total = 0;  // files that were not what they should be
  std::int64_t written_total = 0, evicted_total = 0;
  std::int64_t pages = 0, bytes = 0;  // in the folder, of all processes
};

class PageStore {
 public:
  // Creates the folder, private to this user, where there is none. Fails where it is somebody else's, a
  // link, or writable by others.
  static Result<std::unique_ptr<PageStore>> open(const std::filesystem::path& folder,
                                                 std::int64_t page_bytes,
                                                 std::int64_t budget_bytes);

  // The pages of these keys in order, up to the first that is not there or takes longer to read than
  // `most_seconds`. Counts as a use. `depth`: of the first, in blocks from the beginning of the text.
  std::vector<Page> load(std::span<const PageKey> keys, std::int64_t depth, double most_seconds);

  // Fine where it is there already, which counts as a use.
  Result<void> store(const PageKey& key, std::int64_t depth, std::span<const std::byte> bytes);

  // Counts as a use, where it is there. False: it is not.
  bool touch(const PageKey& key, std::int64_t depth);

  PageStoreStats stats() const;

 private:
  struct Listing;
  PageStore(platform::FileDescriptor folder, std::int64_t page_bytes, std::int64_t budget_bytes);

  std::vector<std::byte> header_of(const PageKey& key, std::uint64_t checksum) const;
  Result<Page> open_page(const PageKey& key);
  void make_room(std::int64_t bytes);
  Listing list() const;

  platform::FileDescriptor folder_;
  std::int64_t page_bytes_;
  std::int64_t budget_bytes_;
  Mutex writing_;
  std::atomic<std::int64_t> found_ = 0, refused_ = 0, written_ = 0, evicted_ = 0, pages_ = 0,
                            bytes_ = 0;
};

}  // namespace edgewise::cache
