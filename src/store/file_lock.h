// An exclusive lock between processes, on a file made for it. Held until destroyed, or until the
// process ends.
#pragma once

#include <filesystem>
#include <functional>
#include <optional>

#include "base/result.h"

namespace edgewise::store {

class FileLock {
 public:
  // Waits while another holds it; on_wait is called once when that begins (may be empty).
  static Result<FileLock> acquire(const std::filesystem::path& path,
                                  const std::function<void()>& on_wait);
  // nullopt: another holds it.
  static Result<std::optional<FileLock>> try_acquire(const std::filesystem::path& path);
  FileLock(FileLock&& other) noexcept;
  FileLock& operator=(FileLock&&) = delete;
  ~FileLock();

 private:
  explicit FileLock(int fd) : fd_(fd) {}

  int fd_;
};

}  // namespace edgewise::store
