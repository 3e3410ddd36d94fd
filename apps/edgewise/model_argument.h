// From what a person typed as MODEL to a path: a file or folder, a stored model's name, or what it
// was pulled from.
#pragma once

#include <filesystem>
#include <memory>
#include <string>

#include "base/result.h"
#include "tensor/model_file.h"

namespace edgewise::app {

inline constexpr char kModelHelp[] = "A file, a folder, or a stored model's name";
inline constexpr char kShortlistHelp[] =
    "Greedy and top-k decoding read about half of a Q8_0 output layer, and are faster where it is "
    "large; all else decodes slower. Answers are the same";

Result<std::filesystem::path> resolve_model(const std::string& argument);

// Where the packed weights of this file may be kept; empty with EDGEWISE_PACKED=off, or when there is
// no place for them. An error if EDGEWISE_PACKED is neither on (the default) nor off.
Result<std::filesystem::path> packed_folder_of(const std::filesystem::path& model);

Result<std::shared_ptr<const tensor::ModelFile>> open_model_file(const std::string& argument);

}  // namespace edgewise::app
