// A file that grows over several attempts: bytes are appended, and a checkpoint records durably how
// many of them count and what they belong to. Opening it again continues from the last checkpoint.
#pragma once

#include <cstdint>
#include <filesystem>
#include <span>
#include <string>

#include "base/result.h"

namespace edgewise::store {

class PartialFile {
 public:
  // `identity`: what the bytes come from; with another one than the checkpoint's, everything starts
  // anew.
  static Result<PartialFile> open(std::filesystem::path path, std::string identity);
  PartialFile(PartialFile&& other) noexcept;
  PartialFile& operator=(PartialFile&&) = delete;
  ~PartialFile();

  std::int64_t bytes() const { return bytes_; }

  const std::string& note() const { return note_; }  // of the last checkpoint: the caller's own

  Result<void> append(std::span<const std::byte> data);
  Result<void> append_file(const std::filesystem::path& source);
  Result<void> checkpoint(std::string note);
  Result<void> restart();  // drops everything

  const std::filesystem::path& path() const { return path_; }

  void remove_checkpoint() const;  // after the file was moved to its place

 private:
  PartialFile(std::filesystem::path path, std::string identity)
      : path_(std::move(path)), identity_(std::move(identity)) {}

  std::filesystem::path checkpoint_path() const;
  Result<void> read_checkpoint();

  std::filesystem::path path_;
  std::string identity_;
  std::string note_;
  std::int64_t bytes_ = 0;
  int fd_ = -1;
};

}  // namespace edgewise::store
