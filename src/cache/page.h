// The content of one KV block in a file that is mapped read-only. Whoever removes the file's name
// takes nothing away: the page stays until it is destroyed.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

#include "platform/mapped_file.h"

namespace edgewise::cache {

class Page {
 public:
  Page() = default;  // none

  // The content begins at `offset` of the file and ends with it.
  Page(platform::MappedFile file, std::int64_t offset) : file_(std::move(file)), offset_(offset) {}

  std::span<const std::byte> bytes() const {
    return file_.has_value() ? file_->bytes().subspan(static_cast<std::size_t>(offset_))
                             : std::span<const std::byte>();
  }

  const std::byte* data() const { return bytes().data(); }

 private:
  std::optional<platform::MappedFile> file_;
  std::int64_t offset_ = 0;
};

}  // namespace edgewise::cache
