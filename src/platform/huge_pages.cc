#include "platform/huge_pages.h"

#include <sys/mman.h>

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <fstream>
#include <string>

namespace edgewise::platform {
namespace {

constexpr std::size_t kHugePage = std::size_t{2} << 20U;
constexpr std::size_t kPieceBytes = std::size_t{32} << 20U;

bool kernel_has_huge_pages() {
  std::ifstream file("/sys/kernel/mm/transparent_hugepage/enabled");
  std::string choices;
  std::getline(file, choices);
  return !choices.empty() && choices.find("[never]") == std::string::npos;
}

std::uintptr_t round_up(std::uintptr_t address) {
  return (address + kHugePage - 1) / kHugePage * kHugePage;
}

// A piece of fresh memory that begins with a huge page.
class Piece {
 public:
  Piece()
      : region_(
            ::mmap(nullptr, kBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)) {
    if (is_valid()) {
      ::madvise(data(), kPieceBytes, MADV_HUGEPAGE);
    }
  }

  Piece(const Piece&) = delete;
  Piece& operator=(const Piece&) = delete;

  // Only what is still ours: where the rest was, another thread may have put its own by now.
  ~Piece() {
    if (is_valid()) {
      const auto before = static_cast<std::size_t>(data() - static_cast<std::byte*>(region_));
      unmap(static_cast<std::byte*>(region_), before);
      unmap(data() + moved_bytes_, kBytes - before - moved_bytes_);
    }
  }

  bool is_valid() const { return region_ != MAP_FAILED; }

  // Takes its first bytes from it, to `to`.
  bool move(std::size_t bytes, std::byte* to) {
    if (::mremap(data(), bytes, bytes, MREMAP_MAYMOVE | MREMAP_FIXED, to) == MAP_FAILED) {
      return false;
    }
    moved_bytes_ = bytes;
    return true;
  }

  std::byte* data() const {
    return static_cast<std::byte*>(region_) + (round_up(reinterpret_cast<std::uintptr_t>(region_)) -
                                               reinterpret_cast<std::uintptr_t>(region_));
  }

 private:
  static constexpr std::size_t kBytes = kPieceBytes + kHugePage;

  static void unmap(std::byte* at, std::size_t bytes) {
    if (bytes > 0) {
      ::munmap(at, bytes);
    }
  }

  void* region_;
  std::size_t moved_bytes_ = 0;
};

// The kernel holds the lock of the address space from taking the old pages away until the new ones are in place: a
// reader in between waits for that lock in its page fault.
bool replace(std::byte* at, std::size_t bytes) {
  Piece piece;
  if (!piece.is_valid()) {
    return false;
  }
  std::memcpy(piece.data(), at, bytes);
  return ::mprotect(piece.data(), bytes, PROT_READ) == 0 && piece.move(bytes, at);
}

}  // namespace

std::size_t replace_by_huge_pages(std::span<const std::byte> mapping, const std::stop_token& stop) {
  const auto begin = reinterpret_cast<std::uintptr_t>(mapping.data());
  const std::uintptr_t end = (begin + mapping.size()) / kHugePage * kHugePage;
  std::uintptr_t at = round_up(begin);
  if (at >= end || !kernel_has_huge_pages()) {
    return 0;
  }
  const std::uintptr_t first = at;
  while (at < end && !stop.stop_requested()) {
    const std::size_t bytes = std::min<std::size_t>(kPieceBytes, end - at);
    if (!replace(const_cast<std::byte*>(mapping.data()) + (at - begin), bytes)) {
      break;
    }
    at += bytes;
  }
  return at - first;
}

}  // namespace edgewise::platform
