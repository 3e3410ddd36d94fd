#include "model/packed_memory.h"

#include <sys/mman.h>

#include <cerrno>
#include <cstring>
#include <utility>

namespace edgewise::model {

PackedMemory::PackedMemory(PackedMemory&& other) noexcept
    : own_(std::exchange(other.own_, nullptr)),
      data_(std::exchange(other.data_, nullptr)),
      bytes_(std::exchange(other.bytes_, 0)),
      file_(std::exchange(other.file_, std::nullopt)) {}

PackedMemory& PackedMemory::operator=(PackedMemory&& other) noexcept {
  std::swap(own_, other.own_);
  std::swap(data_, other.data_);
  std::swap(bytes_, other.bytes_);
  std::swap(file_, other.file_);
  return *this;
}

PackedMemory::~PackedMemory() {
  if (own_ != nullptr) {
    ::munmap(own_, static_cast<std::size_t>(bytes_));
  }
}

Result<PackedMemory> PackedMemory::reserve(std::int64_t bytes) {
  PackedMemory memory;
  void* data = ::mmap(nullptr, static_cast<std::size_t>(bytes), PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (data == MAP_FAILED) {
    return fail(ErrorCode::kResourceExhausted, "cannot get {} bytes for the model's weights: {}",
                bytes, std::strerror(errno));
  }
  ::madvise(data, static_cast<std::size_t>(bytes),
            MADV_HUGEPAGE);  // fewer page faults while packing; a hint only
  memory.own_ = static_cast<std::byte*>(data);
  memory.data_ = memory.own_;
  memory.bytes_ = bytes;
  return memory;
}

PackedMemory PackedMemory::of_file(platform::MappedFile file, std::int64_t offset) {
  PackedMemory memory;
  const std::span<const std::byte> panels = file.bytes().subspan(static_cast<std::size_t>(offset));
  memory.data_ = panels.data();
  memory.bytes_ = std::ssize(panels);
  memory.file_ = std::move(file);
  return memory;
}

}  // namespace edgewise::model
