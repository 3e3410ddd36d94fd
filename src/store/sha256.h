// SHA-256 of bytes and files, as lower-case hexadecimal.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <span>
#include <string>
#include <string_view>

#include "base/result.h"

namespace edgewise::store {

std::string sha256_of_text(std::string_view text);

// on_bytes: called with the bytes read so far; may be empty.
Result<std::string> sha256_of_file(const std::filesystem::path& path,
                                   const std::function<void(std::int64_t)>& on_bytes);

bool is_sha256(std::string_view text);  // 64 lower-case hexadecimal digits

}  // namespace edgewise::store
