#include "platform/mapped_file.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <cstring>
#include <utility>

namespace edgewise::platform {
namespace {

tl::unexpected<Error> fail_with_errno(const std::filesystem::path& path,
                                      const char* action,
                                      int error_number) {
  ErrorCode code = ErrorCode::kIo;
  if (error_number == ENOENT || error_number == ENOTDIR) {
    code = ErrorCode::kNotFound;
  } else if (error_number == EACCES || error_number == EPERM) {
    code = ErrorCode::kPermissionDenied;
  } else if (error_number == ENOMEM) {
    code = ErrorCode::kResourceExhausted;
  } else if (error_number == ELOOP) {  // a link where none may be
    code = ErrorCode::kInvalidArgument;
  }
  return fail(code, "{}: cannot {}: {}", path.string(), action, std::strerror(error_number));
}

std::int64_t nanoseconds(const timespec& time) {
  return std::int64_t{time.tv_sec} * 1'000'000'000 + time.tv_nsec;
}

}  // namespace

// O_NONBLOCK: opening a FIFO by mistake must not hang. It has no effect on regular files.
Result<MappedFile> MappedFile::open(const std::filesystem::path& path) {
  return map(FileDescriptor(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK)), path);
}

Result<MappedFile> MappedFile::open_in(int folder, const std::string& name) {
  return map(FileDescriptor(
                 ::openat(folder, name.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOFOLLOW)),
             name);
}

Result<MappedFile> MappedFile::map(const FileDescriptor& file, const std::filesystem::path& path) {
  if (file.get() < 0) {
    return fail_with_errno(path, "open", errno);
  }
  struct stat status = {};
  if (::fstat(file.get(), &status) != 0) {
    return fail_with_errno(path, "read its size", errno);
  }
  if (!S_ISREG(status.st_mode)) {
    return fail(ErrorCode::kInvalidArgument, "{}: not a regular file", path.string());
  }
  const FileStamp stamp{status.st_dev, status.st_ino, status.st_size, nanoseconds(status.st_mtim),
                        nanoseconds(status.st_ctim)};
  const bool is_ours = status.st_uid == ::geteuid() || status.st_uid == 0;
  const bool others_can_write = !is_ours || (status.st_mode & (S_IWGRP | S_IWOTH)) != 0;
  if (status.st_size == 0) {
    return MappedFile(nullptr, stamp, others_can_write);  // mmap refuses a length of 0
  }
  const auto size = static_cast<std::size_t>(status.st_size);
  void* data = ::mmap(nullptr, size, PROT_READ, MAP_PRIVATE, file.get(), 0);
  if (data == MAP_FAILED) {
    return fail_with_errno(path, "map it into memory", errno);
  }
  return MappedFile(static_cast<const std::byte*>(data), stamp, others_can_write);
}

MappedFile::MappedFile(MappedFile&& other) noexcept
    : data_(std::exchange(other.data_, nullptr)),
      size_(std::exchange(other.size_, 0)),
      stamp_(other.stamp_),
      others_can_write_(other.others_can_write_) {}

MappedFile& MappedFile::operator=(MappedFile&& other) noexcept {
  std::swap(data_, other.data_);
  std::swap(size_, other.size_);
  std::swap(stamp_, other.stamp_);
  std::swap(others_can_write_, other.others_can_write_);
  return *this;
}

MappedFile::~MappedFile() {
  if (data_ != nullptr) {
    ::munmap(const_cast<std::byte*>(data_), size_);
  }
}

bool MappedFile::read_all() const {
#ifdef MADV_POPULATE_READ
  // Before Linux 5.14 (EINVAL) pages come at their first use, as everywhere else.
  return data_ == nullptr ||
         ::madvise(const_cast<std::byte*>(data_), size_, MADV_POPULATE_READ) == 0 ||
         errno == EINVAL;
#else
  return true;
#endif
}

void MappedFile::advise_streaming() const {
  if (data_ != nullptr) {
    ::madvise(const_cast<std::byte*>(data_), size_, MADV_HUGEPAGE);
  }
}

void MappedFile::release(std::span<const std::byte> part) const {
  const auto begin_of_file = reinterpret_cast<std::uintptr_t>(data_);
  const auto begin = reinterpret_cast<std::uintptr_t>(part.data());
  const std::uintptr_t end = begin + part.size();
  if (data_ == nullptr || begin < begin_of_file || end > begin_of_file + size_ || end < begin) {
    return;
  }
  const auto page = static_cast<std::uintptr_t>(::sysconf(_SC_PAGESIZE));
  const std::uintptr_t first_page = (begin + page - 1) / page * page;
  const std::uintptr_t last_page = end / page * page;
  if (first_page < last_page) {
    // On failure the pages merely stay resident.
    ::madvise(reinterpret_cast<void*>(first_page), last_page - first_page, MADV_DONTNEED);
  }
}

}  // namespace edgewise::platform
