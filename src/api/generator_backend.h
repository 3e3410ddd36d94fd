// A loaded model as the interface's backend.
#pragma once

#include <filesystem>
#include <memory>
#include <optional>
#include <string>

#include "api/backend.h"

namespace edgewise::api {

// `alias`: the name in replies; empty: the model's own. Requests may also use the file's name. The
// generator must outlive the backend. `accuracy`: ModelCard's.
std::unique_ptr<Backend> make_generator_backend(chat::Generator& generator,
                                                const std::string& alias,
                                                const std::filesystem::path& model_path,
                                                std::optional<double> accuracy);

}  // namespace edgewise::api
