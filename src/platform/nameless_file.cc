#include "platform/nameless_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

namespace edgewise::platform {
namespace {

// A disk is not filled to the brim for files that are a convenience: so much of it stays free.
constexpr std::uint64_t kFreeShare = 20;

tl::unexpected<Error> failed(const char* doing, int error = errno) {
  const bool is_full = error == ENOSPC || error == EDQUOT;
  return fail(is_full ? ErrorCode::kResourceExhausted : ErrorCode::kIo, "cannot {}: {}", doing,
              std::strerror(error));
}

Result<void> reserve_space(int fd, std::int64_t bytes) {
  struct statvfs disk{};
  if (::fstatvfs(fd, &disk) != 0) {
    return failed("ask for free space");
  }
  const std::uint64_t wanted = static_cast<std::uint64_t>(bytes) / disk.f_frsize + 1;
  if (disk.f_bavail < wanted + disk.f_blocks / kFreeShare) {
    return fail(ErrorCode::kResourceExhausted, "the disk is nearly full");
  }
  if (const int error = ::posix_fallocate(fd, 0, bytes); error != 0) {
    return failed("reserve space for it", error);
  }
  return {};
}

}  // namespace

Result<NamelessFile> NamelessFile::create(const std::filesystem::path& folder,
                                          mode_t mode,
                                          std::int64_t bytes) {
  const FileDescriptor opened(
      ::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW));
  if (opened.get() < 0) {
    return failed("open its folder");
  }
  return create(opened.get(), mode, bytes);
}

Result<NamelessFile> NamelessFile::create(int folder, mode_t mode, std::int64_t bytes) {
  NamelessFile file(FileDescriptor(::openat(folder, ".", O_TMPFILE | O_WRONLY | O_CLOEXEC, mode)));
  if (file.descriptor() < 0) {
    return failed("create it");
  }
  TRY_VOID(reserve_space(file.descriptor(), bytes));
  return file;
}

Result<void> NamelessFile::write(std::span<const std::byte> bytes, std::int64_t offset) {
  while (!bytes.empty()) {
    const ssize_t wrote = ::pwrite(file_.get(), bytes.data(), bytes.size(), offset);
    if (wrote < 0 && errno != EINTR) {
      return failed("write it");
    }
    const auto count = static_cast<std::size_t>(std::max<ssize_t>(wrote, 0));
    bytes = bytes.subspan(count);
    offset += static_cast<std::int64_t>(count);
  }
  return {};
}

Result<bool> NamelessFile::appear_as(const std::filesystem::path& path) {
  return appear_in(AT_FDCWD, path.c_str());
}

Result<bool> NamelessFile::appear_in(int folder, const char* name) {
  const std::string link = fmt::format("/proc/self/fd/{}", file_.get());
  if (::linkat(AT_FDCWD, link.c_str(), folder, name, AT_SYMLINK_FOLLOW) == 0) {
    return true;
  }
  if (errno == EEXIST) {
    return false;
  }
  return failed("name it");
}

}  // namespace edgewise::platform
