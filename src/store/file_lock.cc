#include "store/file_lock.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "store/disk.h"

namespace edgewise::store {

Result<FileLock> FileLock::acquire(const std::filesystem::path& path,
                                   const std::function<void()>& on_wait) {
  const int fd = open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644);
  if (fd < 0) {
    return io_error("cannot create", path);
  }
  FileLock lock(fd);
  if (flock(fd, LOCK_EX | LOCK_NB) == 0) {
    return lock;
  }
  if (errno == EWOULDBLOCK && on_wait) {
    on_wait();
  }
  while (flock(fd, LOCK_EX) != 0) {
    if (errno != EINTR) {
      return io_error("cannot lock", path);
    }
  }
  return lock;
}

Result<std::optional<FileLock>> FileLock::try_acquire(const std::filesystem::path& path) {
  const int fd = open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644);
  if (fd < 0) {
    return io_error("cannot create", path);
  }
  FileLock lock(fd);
  if (flock(fd, LOCK_EX | LOCK_NB) == 0) {
    return std::optional<FileLock>(std::move(lock));
  }
  if (errno == EWOULDBLOCK) {
    return std::nullopt;
  }
  return io_error("cannot lock", path);
}

FileLock::FileLock(FileLock&& other) noexcept : fd_(other.fd_) {
  other.fd_ = -1;
}

FileLock::~FileLock() {
  if (fd_ >= 0) {
    close(fd_);
  }
}

}  // namespace edgewise::store
