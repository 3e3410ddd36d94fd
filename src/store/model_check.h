// Whether what was brought is a model at all: found out before it gets a name. Private to store/.
#pragma once

#include <filesystem>
#include <string>
#include <string_view>

#include "base/result.h"

namespace edgewise::store {

// A GGUF file (with the other parts of a split model beside it) or a folder with model.safetensors, whose header and
// metadata can be read. Else an error that says what is wrong with it, or what it is instead. That its architecture
// and types can be computed is not asked.
Result<void> check_is_model(const std::filesystem::path& path);

// What a file is by its first bytes, for people: "a web page", "a ZIP archive (a PyTorch model, or a package)".
std::string kind_of_file(std::string_view first_bytes);

}  // namespace edgewise::store
