// Reads little-endian values one after another from bytes that nobody has checked. Every read is
// bounded, and every error names the file, the offset and the field.
#pragma once

#include <fmt/format.h>

#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <string_view>
#include <utility>

#include "base/result.h"

namespace edgewise::tensor {

// `text` from a file as it may appear in a message: control characters and bytes above 126 as \xNN,
// cut after 80 characters.
std::string printable(std::string_view text);

class ByteCursor {
 public:
  // Neither is copied: both must outlive the cursor.
  ByteCursor(std::span<const std::byte> bytes, std::string_view file)
      : bytes_(bytes), file_(file) {}

  std::uint64_t offset() const { return offset_; }

  std::uint64_t left() const { return bytes_.size() - offset_; }

  template <typename T>
  Result<T> read(std::string_view field) {
    if (left() < sizeof(T)) {
      return ends_inside(field);
    }
    T value;
    std::memcpy(&value, bytes_.data() + offset_, sizeof(T));
    offset_ += sizeof(T);
    return value;
  }

  // The next `count` bytes. Requires: count <= left().
  const std::byte* take(std::uint64_t count) {
    const std::byte* begin = bytes_.data() + offset_;
    offset_ += count;
    return begin;
  }

  // A length of 8 bytes and that many bytes of text, which stays in the file.
  Result<std::string_view> read_string(std::string_view field, std::uint64_t max_bytes) {
    const auto size = TRY(read<std::uint64_t>(field));
    if (size > left() || size > max_bytes) [[unlikely]] {
      return too_long(field, size, max_bytes);
    }
    return std::string_view(reinterpret_cast<const char*>(take(size)), size);
  }

  template <typename... Args>
  [[nodiscard]] tl::unexpected<Error> error(fmt::format_string<Args...> format,
                                            Args&&... args) const {
    return error_at(offset_, ErrorCode::kCorrupt, fmt::format(format, std::forward<Args>(args)...));
  }

  template <typename... Args>
  [[nodiscard]] tl::unexpected<Error> unsupported(fmt::format_string<Args...> format,
                                                  Args&&... args) const {
    return error_at(offset_, ErrorCode::kUnsupported,
                    fmt::format(format, std::forward<Args>(args)...));
  }

 private:
  tl::unexpected<Error> error_at(std::uint64_t offset,
                                 ErrorCode code,
                                 std::string_view message) const;
  tl::unexpected<Error> ends_inside(std::string_view field) const;
  tl::unexpected<Error> too_long(std::string_view field,
                                 std::uint64_t size,
                                 std::uint64_t max_bytes) const;

  std::span<const std::byte> bytes_;
  std::string_view file_;
  std::uint64_t offset_ = 0;
};

}  // namespace edgewise::tensor
