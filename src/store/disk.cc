#include "store/disk.h"

#include <fcntl.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>

namespace edgewise::store {
namespace {

ErrorCode code_of(int error_number) {
  switch (error_number) {
    case ENOSPC:
    case EDQUOT:
    case EFBIG:
      return ErrorCode::kResourceExhausted;
    case EACCES:
    case EPERM:
    case EROFS:
      return ErrorCode::kPermissionDenied;
    case ENOENT:
      return ErrorCode::kNotFound;
    default:
      return ErrorCode::kIo;
  }
}

Result<void> write_and_sync(int fd, std::string_view text, const std::filesystem::path& path) {
  while (!text.empty()) {
    const ssize_t wrote = write(fd, text.data(), text.size());
    if (wrote < 0 && errno != EINTR) {
      return io_error("cannot write", path);
    }
    text.remove_prefix(wrote > 0 ? static_cast<std::size_t>(wrote) : 0);
  }
  if (fsync(fd) != 0) {
    return io_error("cannot write", path);
  }
  return {};
}

}  // namespace

tl::unexpected<Error> io_error(std::string_view doing, const std::filesystem::path& path) {
  return io_error(doing, path, errno);
}

tl::unexpected<Error> io_error(std::string_view doing,
                               const std::filesystem::path& path,
                               int error_number) {
  const char* advice = error_number == ENOSPC || error_number == EDQUOT
                           ? "; free some space (`edgewise list` shows what models take) and try "
                             "again: what is there will be kept"
                           : "";
  return fail(code_of(error_number), "{} {}: {}{}", doing, path.string(),
              std::strerror(error_number), advice);
}

Result<void> create_folders(const std::filesystem::path& path) {
  std::error_code error;
  std::filesystem::create_directories(path, error);
  if (error) {
    return io_error("cannot create", path, error.value());
  }
  return {};
}

Result<void> remove_tree(const std::filesystem::path& path) {
  std::error_code error;
  std::filesystem::remove_all(path, error);
  if (error) {
    return io_error("cannot remove", path, error.value());
  }
  return {};
}

Result<void> rename_path(const std::filesystem::path& from, const std::filesystem::path& to) {
  if (std::rename(from.c_str(), to.c_str()) != 0) {
    return io_error("cannot create", to);
  }
  return sync_folder(to.parent_path());
}

Result<std::string> read_small_file(const std::filesystem::path& path, std::int64_t most_bytes) {
  const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) {
    return io_error("cannot open", path);
  }
  std::string text;
  std::array<char, 4096> buffer;
  ssize_t got = 0;
  while (std::ssize(text) <= most_bytes && (got = read(fd, buffer.data(), buffer.size())) > 0) {
    text.append(buffer.data(), static_cast<std::size_t>(got));
  }
  const int error_number = errno;
  close(fd);
  if (got < 0) {
    return io_error("cannot read", path, error_number);
  }
  if (std::ssize(text) > most_bytes) {
    return fail(ErrorCode::kCorrupt, "{} is larger than {} bytes", path.string(), most_bytes);
  }
  return text;
}

Result<void> write_file_durably(const std::filesystem::path& path, std::string_view text) {
  std::filesystem::path temporary = path;
  temporary += ".new";
  const int fd = open(temporary.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
  if (fd < 0) {
    return io_error("cannot create", temporary);
  }
  Result<void> written = write_and_sync(fd, text, temporary);
  close(fd);
  if (!written) {
    unlink(temporary.c_str());
    return written;
  }
  return rename_path(temporary, path);
}

Result<void> sync_folder(const std::filesystem::path& path) {
  const int fd = open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0) {
    return io_error("cannot open", path);
  }
  const int status = fsync(fd);
  const int error_number = errno;
  close(fd);
  if (status != 0 && error_number != EINVAL) {  // EINVAL: a file system without folder sync
    return io_error("cannot write", path, error_number);
  }
  return {};
}

std::int64_t bytes_below(const std::filesystem::path& folder) {
  std::int64_t total = 0;
  std::error_code error;
  for (std::filesystem::recursive_directory_iterator at(folder, error);
       !error && at != std::filesystem::recursive_directory_iterator(); at.increment(error)) {
    std::error_code ignored;  // files come and go
    const auto size = at->is_regular_file(ignored) ? at->file_size(ignored) : 0;
    total += ignored ? 0 : static_cast<std::int64_t>(size);
  }
  return total;
}

Result<void> check_free_space(const std::filesystem::path& path, std::int64_t needed_bytes) {
  struct statvfs space{};
  if (statvfs(path.c_str(), &space) != 0) {
    return io_error("cannot ask for free space in", path);
  }
  const auto free_bytes =
      static_cast<std::int64_t>(space.f_bavail) * static_cast<std::int64_t>(space.f_frsize);
  if (free_bytes < needed_bytes) {
    return fail(ErrorCode::kResourceExhausted,
                "{} has {} MB free, but {} MB are needed; free some space, or set EDGEWISE_HOME to "
                "a folder on a larger disk",
                path.string(), free_bytes / 1'000'000, (needed_bytes + 999'999) / 1'000'000);
  }
  return {};
}

}  // namespace edgewise::store
