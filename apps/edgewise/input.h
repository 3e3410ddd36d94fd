// Reading what users point at: files and standard input, with a limit.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "base/ids.h"
#include "base/result.h"
#include "kernels/kv_type.h"

namespace edgewise::app {

inline constexpr std::int64_t kMostInputBytes = std::int64_t{1} << 30;

// The whole content; "-" is standard input.
Result<std::string> read_text(const std::filesystem::path& path);

// Token ids separated by white space, commas or brackets (so a JSON array works), each in [0,
// vocab).
Result<std::vector<TokenId>> parse_token_ids(std::string_view text, std::int64_t vocab);

// --kv-type.
inline constexpr char kKvTypeHelp[] =
    "How keys and values are stored: f16, or q8, about half the memory and a small loss (default: "
    "f16)";
Result<kernels::KvType> parse_kv_type(std::string_view name);

// What `option` may be; the error names it.
Result<void> check_range(std::string_view option,
                         std::int64_t value,
                         std::int64_t least,
                         std::int64_t most);

}  // namespace edgewise::app
