// File operations that say what went wrong and survive a power cut: what was written is on the disk
// before a name points at it.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>

#include "base/result.h"

namespace edgewise::store {

// An error from errno, with the code that fits (no space: kResourceExhausted).
[[nodiscard]] tl::unexpected<Error> io_error(std::string_view doing,
                                             const std::filesystem::path& path);
[[nodiscard]] tl::unexpected<Error> io_error(std::string_view doing,
                                             const std::filesystem::path& path,
                                             int error_number);

Result<void> create_folders(const std::filesystem::path& path);
Result<void> remove_tree(const std::filesystem::path& path);  // absent: fine
Result<void> rename_path(const std::filesystem::path& from, const std::filesystem::path& to);

// Whole small text files; the reader refuses what is larger than `most_bytes`.
Result<std::string> read_small_file(const std::filesystem::path& path, std::int64_t most_bytes);
Result<void> write_file_durably(const std::filesystem::path& path,
                                std::string_view text);  // atomically

Result<void> sync_folder(const std::filesystem::path& path);

// Of all regular files in the folder, which may change meanwhile.
std::int64_t bytes_below(const std::filesystem::path& folder);

// Fails when the disk that holds `path` has not room for this much more.
Result<void> check_free_space(const std::filesystem::path& path, std::int64_t needed_bytes);

}  // namespace edgewise::store
