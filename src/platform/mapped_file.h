// A file mapped read-only into memory. Pages come from the page cache on first use. When someone
// shortens the file meanwhile, reading past its new end kills the process (SIGBUS): models are
// replaced by renaming.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string>

#include "base/result.h"
#include "platform/file_descriptor.h"

namespace edgewise::platform {

// What tells whether a file is still the same: any write to it changes `changed_ns`, which programs
// cannot set.
struct FileStamp {
  std::uint64_t device = 0;
  std::uint64_t inode = 0;
  std::int64_t size = 0;
  std::int64_t modified_ns = 0;
  std::int64_t changed_ns = 0;
};

class MappedFile {
 public:
  static Result<MappedFile> open(const std::filesystem::path& path);
  // Of an open folder; a name that is a link is refused.
  static Result<MappedFile> open_in(int folder, const std::string& name);
  MappedFile(MappedFile&& other) noexcept;
  MappedFile& operator=(MappedFile&& other) noexcept;
  ~MappedFile();

  std::span<const std::byte> bytes() const { return {data_, size_}; }

  const FileStamp& stamp() const { return stamp_; }  // when it was opened

  // Whether somebody other than this user and root may change it.
  bool others_can_write() const { return others_can_write_; }

  // Brings all pages into memory. False: the disk cannot read them, which would be a SIGBUS later.
  bool read_all() const;

  // Hints that the whole file is read again and again: large pages, where the file system has them.
  void advise_streaming() const;

  // Lets the kernel drop the pages of `part` from this process (they stay in the page cache). Used
  // after packing, so that a model is not resident twice. Rounds inwards to whole pages.
  void release(std::span<const std::byte> part) const;

 private:
  static Result<MappedFile> map(const FileDescriptor& file, const std::filesystem::path& path);

  MappedFile(const std::byte* data, const FileStamp& stamp, bool others_can_write)
      : data_(data),
        size_(static_cast<std::size_t>(stamp.size)),
        stamp_(stamp),
        others_can_write_(others_can_write) {}

  const std::byte* data_ = nullptr;
  std::size_t size_ = 0;
  FileStamp stamp_;
  bool others_can_write_;
};

}  // namespace edgewise::platform
