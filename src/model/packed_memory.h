// Owns a model's packed panels: memory of its own, or a file mapped read-only (packed_file.h).
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

#include "base/result.h"
#include "platform/mapped_file.h"

namespace edgewise::model {

class PackedMemory {
 public:
  PackedMemory() = default;
  PackedMemory(PackedMemory&& other) noexcept;
  PackedMemory& operator=(PackedMemory&& other) noexcept;
  ~PackedMemory();

  static Result<PackedMemory> reserve(std::int64_t bytes);
  // The panels begin at `offset` of the file and end with it.
  static PackedMemory of_file(platform::MappedFile file, std::int64_t offset);

  std::byte* writable() { return own_; }  // nullptr when mapped

  const std::byte* data() const { return data_; }

  std::int64_t bytes() const { return bytes_; }

  std::span<const std::byte> view() const { return {data_, static_cast<std::size_t>(bytes_)}; }

 private:
  std::byte* own_ = nullptr;
  const std::byte* data_ = nullptr;
  std::int64_t bytes_ = 0;
  std::optional<platform::MappedFile> file_;
};

}  // namespace edgewise::model
