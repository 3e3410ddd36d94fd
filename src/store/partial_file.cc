#include "store/partial_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <vector>

#include "store/disk.h"

namespace edgewise::store {
namespace {

constexpr std::int64_t kMostCheckpointBytes = 1 << 16;

// Takes one line off the front of `text`.
std::string take_line(std::string_view& text) {
  const std::size_t end = std::min(text.find('\n'), text.size());
  std::string line(text.substr(0, end));
  text.remove_prefix(std::min(end + 1, text.size()));
  return line;
}

}  // namespace

PartialFile::PartialFile(PartialFile&& other) noexcept
    : path_(std::move(other.path_)),
      identity_(std::move(other.identity_)),
      note_(std::move(other.note_)),
      bytes_(other.bytes_),
      fd_(other.fd_) {
  other.fd_ = -1;
}

PartialFile::~PartialFile() {
  if (fd_ >= 0) {
    close(fd_);
  }
}

std::filesystem::path PartialFile::checkpoint_path() const {
  std::filesystem::path path = path_;
  path += ".checkpoint";
  return path;
}

Result<PartialFile> PartialFile::open(std::filesystem::path path, std::string identity) {
  PartialFile file(std::move(path), std::move(identity));
  file.fd_ = ::open(file.path_.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644);
  if (file.fd_ < 0) {
    return io_error("cannot create", file.path_);
  }
  TRY_VOID(file.read_checkpoint());
  // What came after the checkpoint may be torn.
  if (ftruncate(file.fd_, file.bytes_) != 0 || lseek(file.fd_, file.bytes_, SEEK_SET) < 0) {
    return io_error("cannot write", file.path_);
  }
  return file;
}

// Three lines: identity, bytes, note.
Result<void> PartialFile::read_checkpoint() {
  const Result<std::string> text = read_small_file(checkpoint_path(), kMostCheckpointBytes);
  if (!text) {
    return {};
  }
  std::string_view rest = *text;
  if (take_line(rest) != identity_) {
    return {};
  }
  const std::string count = take_line(rest);
  std::int64_t bytes = 0;
  const auto [stop, error] = std::from_chars(count.data(), count.data() + count.size(), bytes);
  struct stat status{};
  if (error != std::errc{} || *stop != '\0' || bytes < 0 || fstat(fd_, &status) != 0 ||
      status.st_size < bytes) {
    return {};
  }
  bytes_ = bytes;
  note_ = take_line(rest);
  return {};
}

Result<void> PartialFile::append(std::span<const std::byte> data) {
  while (!data.empty()) {
    const ssize_t wrote = write(fd_, data.data(), data.size());
    if (wrote < 0 && errno == EINTR) {
      continue;
    }
    if (wrote < 0) {
      return io_error("cannot write", path_);
    }
    bytes_ += wrote;
    data = data.subspan(static_cast<std::size_t>(wrote));
  }
  return {};
}

Result<void> PartialFile::append_file(const std::filesystem::path& source) {
  const int from = ::open(source.c_str(), O_RDONLY | O_CLOEXEC);
  if (from < 0) {
    return io_error("cannot open", source);
  }
  std::vector<std::byte> buffer(1 << 20);
  Result<void> status;
  ssize_t got = 0;
  while (status && (got = read(from, buffer.data(), buffer.size())) > 0) {
    status = append(std::span(buffer).first(static_cast<std::size_t>(got)));
  }
  const int error_number = errno;
  close(from);
  if (got < 0) {
    return io_error("cannot read", source, error_number);
  }
  return status;
}

Result<void> PartialFile::checkpoint(std::string note) {
  if (fdatasync(fd_) != 0) {
    return io_error("cannot write", path_);
  }
  TRY_VOID(
      write_file_durably(checkpoint_path(), fmt::format("{}\n{}\n{}\n", identity_, bytes_, note)));
  note_ = std::move(note);
  return {};
}

Result<void> PartialFile::restart() {
  std::error_code ignored;
  std::filesystem::remove(checkpoint_path(), ignored);
  bytes_ = 0;
  note_.clear();
  if (ftruncate(fd_, 0) != 0 || lseek(fd_, 0, SEEK_SET) < 0) {
    return io_error("cannot write", path_);
  }
  return {};
}

void PartialFile::remove_checkpoint() const {
  std::error_code ignored;
  std::filesystem::remove(checkpoint_path(), ignored);
}

}  // namespace edgewise::store
