// A file mapped read-only into memory. Pages come from the page cache on first use. When someone
// shortens the file meanwhile, reading past its new end kills the process (SIGBUS): models are
// replaced by renaming.
#pragma once

#include <cstddef>
#include <filesystem>
#include <span>

#include "base/result.h"

namespace edgewise::platform {

class MappedFile {
 public:
  static Result<MappedFile> open(const std::filesystem::path& path);
  MappedFile(MappedFile&& other) noexcept;
  MappedFile& operator=(MappedFile&& other) noexcept;
  ~MappedFile();

  std::span<const std::byte> bytes() const { return {data_, size_}; }

  // Lets the kernel drop the pages of `part` from this process (they stay in the page cache). Used
  // after packing, so that a model is not resident twice. Rounds inwards to whole pages.
  void release(std::span<const std::byte> part) const;

 private:
  MappedFile(const std::byte* data, std::size_t size) : data_(data), size_(size) {}

  const std::byte* data_ = nullptr;
  std::size_t size_ = 0;
};

}  // namespace edgewise::platform
