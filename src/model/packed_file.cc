#include "model/packed_file.h"

#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstring>
#include <utility>
#include <vector>

#include "base/log.h"
#include "kernels/packing_fingerprint.h"
#include "platform/checksum.h"
#include "platform/nameless_file.h"

namespace edgewise::model {
namespace {

namespace fs = std::filesystem;

// The unit of checksums and of writing: file systems that have large pages make one of each write.
constexpr std::int64_t kPieceBytes = 2 << 20;
constexpr std::int64_t kPageBytes = 4096;
constexpr std::chrono::seconds kPatience{2};

std::int64_t pieces_of(std::int64_t bytes) {
  return (bytes + kPieceBytes - 1) / kPieceBytes;
}

std::span<const std::byte> piece(std::span<const std::byte> panels, std::int64_t index) {
  const auto begin = static_cast<std::size_t>(index * kPieceBytes);
  return panels.subspan(begin,
                        std::min(panels.size() - begin, static_cast<std::size_t>(kPieceBytes)));
}

struct Header {
  std::int64_t checksums_at = 0;
  std::int64_t bytes = 0;  // up to the panels

  Header(std::string_view label, std::int64_t panel_bytes) {
    checksums_at = (std::ssize(label) + 8) / 8 * 8;  // at least one zero ends the label
    bytes = (checksums_at + pieces_of(panel_bytes) * 8 + kPageBytes - 1) / kPageBytes * kPageBytes;
  }
};

void remove_others(const fs::path& path) {
  std::error_code error;
  for (fs::directory_iterator at(path.parent_path(), error);
       !error && at != fs::directory_iterator(); at.increment(error)) {
    std::error_code ignored;
    if (at->path() != path && at->path().extension() == ".packed") {
      fs::remove(at->path(), ignored);
    }
  }
}

}  // namespace

fs::path packed_file_in(const fs::path& folder) {
  static const std::uint64_t kFingerprint = kernels::packing_fingerprint();
  return folder / fmt::format("{:016x}.packed", kFingerprint);
}

std::optional<PackedMemory> map_packed_file(const fs::path& path,
                                            std::string_view label,
                                            std::int64_t panel_bytes,
                                            platform::WorkerPool& pool) {
  Result<platform::MappedFile> file = platform::MappedFile::open(path);
  if (!file) {
    return std::nullopt;
  }
  if (file->others_can_write()) {  // the checksums are no signature
    log(LogLevel::kWarning, "{} is not used: other users can change it", path.string());
    return std::nullopt;
  }
  const Header header(label, panel_bytes);
  const std::span<const std::byte> bytes = file->bytes();
  if (std::ssize(bytes) != header.bytes + panel_bytes ||
      std::memcmp(bytes.data(), label.data(), label.size()) != 0 ||
      bytes[label.size()] != std::byte{0}) {
    log(LogLevel::kInfo, "{} was made of other weights, or is damaged: it will be replaced",
        path.string());
    return std::nullopt;
  }
  file->advise_streaming();
  const std::int64_t pieces = pieces_of(panel_bytes);
  std::vector<std::uint64_t> expected(static_cast<std::size_t>(pieces));
  std::memcpy(expected.data(), bytes.data() + header.checksums_at, expected.size() * 8);
  const std::span<const std::byte> panels = bytes.subspan(static_cast<std::size_t>(header.bytes));
  std::atomic<bool> intact = true;
  pool.parallel_for(pieces, 1, [&](std::int64_t begin, std::int64_t end, int) {
    for (std::int64_t i = begin; i < end; ++i) {
      if (platform::checksum(piece(panels, i)) != expected[static_cast<std::size_t>(i)]) {
        intact = false;
      }
    }
  });
  if (!intact) {
    log(LogLevel::kWarning, "{} is damaged: it will be replaced", path.string());
    return std::nullopt;
  }
  ::utimensat(AT_FDCWD, path.c_str(), nullptr, 0);  // "used now", for who has to make room
  return PackedMemory::of_file(std::move(*file), header.bytes);
}

PackedFileWriter::PackedFileWriter(fs::path path,
                                   std::string label,
                                   std::span<const std::byte> panels)
    : path_(std::move(path)), label_(std::move(label)), panels_(panels) {
  thread_ = std::jthread([this](const std::stop_token& stop) {
    const sched_param idle{};
    ::pthread_setschedparam(::pthread_self(), SCHED_IDLE, &idle);  // a favour, not a need
    if (const Result<void> written = write(stop); !written) {
      log(LogLevel::kInfo, "packed weights are not kept in {}: {}", path_.string(),
          written.error().message);
    }
    end_.set_value();
  });
}

PackedFileWriter::~PackedFileWriter() {
  ended_.wait_for(kPatience);
  thread_.request_stop();
}

void PackedFileWriter::wait() const {
  ended_.wait();
}

// Into a file without a name, which vanishes by itself when anything goes wrong. Not synced: after a
// power cut the checksums tell what is missing.
Result<void> PackedFileWriter::write(const std::stop_token& stop) const {
  std::error_code error;
  fs::create_directories(path_.parent_path(), error);
  if (error) {
    return fail(ErrorCode::kIo, "cannot create the folder: {}", error.message());
  }
  const Header header(label_, std::ssize(panels_));
  platform::NamelessFile file = TRY(platform::NamelessFile::create(
      path_.parent_path(), 0644, header.bytes + std::ssize(panels_)));
  std::vector<std::uint64_t> checksums;
  for (std::int64_t i = 0; i < pieces_of(std::ssize(panels_)); ++i) {
    if (stop.stop_requested()) {
      return fail(ErrorCode::kCancelled, "the process ended first");
    }
    const std::span<const std::byte> part = piece(panels_, i);
    checksums.push_back(platform::checksum(part));
    TRY_VOID(file.write(part, header.bytes + i * kPieceBytes));
  }
  std::vector<std::byte> head(static_cast<std::size_t>(header.bytes));
  std::memcpy(head.data(), label_.data(), label_.size());
  std::memcpy(head.data() + header.checksums_at, checksums.data(), checksums.size() * 8);
  TRY_VOID(file.write(head, 0));
  fs::remove(path_, error);  // one that was found unusable
  TRY(file.appear_as(path_));
  remove_others(path_);
  return {};
}

}  // namespace edgewise::model
