// A loaded model as the interface's backend.
#pragma once

#include <filesystem>
#include <memory>
#include <optional>
#include <string>

#include "api/backend.h"

namespace edgewise::api {

struct BackendOptions {
  std::string alias;                 // the name in replies; empty: the model's own
  std::filesystem::path model_path;  // requests may also use its file's name
  std::optional<double> accuracy;    // ModelCard::accuracy
  std::string group;                 // ModelCard::group; its engine keeps forecasts
};

// The generator must outlive the backend.
std::unique_ptr<Backend> make_generator_backend(chat::Generator& generator,
                                                const BackendOptions& options);

}  // namespace edgewise::api
