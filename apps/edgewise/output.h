// Writing the files that users ask for.
#pragma once

#include <filesystem>
#include <string_view>

#include "base/result.h"

namespace edgewise::app {

// Whether `path` can be written, asked before the work whose result is to go there. Leaves what is
// there as it is.
Result<void> check_writable(const std::filesystem::path& path);

Result<void> write_text(const std::filesystem::path& path, std::string_view text);

}  // namespace edgewise::app
