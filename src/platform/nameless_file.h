// A file that has no name until it is complete: nobody sees half of it, and when the process ends
// before, by whatever cause, nothing is left. Not on file systems without O_TMPFILE (NFS, FAT).
//
// Not synced to the disk: after a power cut a named file may hold anything, so what is in it needs a
// checksum.
#pragma once

#include <sys/types.h>

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>

#include "base/result.h"
#include "platform/file_descriptor.h"

namespace edgewise::platform {

class NamelessFile {
 public:
  // On the disk of this folder (a link is refused: it may lead into somebody else's), with room for
  // `bytes`, which is reserved. Fails when a twentieth of the disk would not stay free.
  static Result<NamelessFile> create(const std::filesystem::path& folder,
                                     mode_t mode,
                                     std::int64_t bytes);
  static Result<NamelessFile> create(int folder, mode_t mode, std::int64_t bytes);

  int descriptor() const { return file_.get(); }

  Result<void> write(std::span<const std::byte> bytes, std::int64_t offset);

  // False: another process was faster, and the name is taken.
  Result<bool> appear_as(const std::filesystem::path& path);
  Result<bool> appear_in(int folder, const char* name);

 private:
  explicit NamelessFile(FileDescriptor file) : file_(std::move(file)) {}

  FileDescriptor file_;
};

}  // namespace edgewise::platform
