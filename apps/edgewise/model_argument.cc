#include "model_argument.h"

#include <cstdlib>

#include "store/catalogue.h"
#include "store/store.h"

namespace edgewise::app {

Result<std::filesystem::path> resolve_model(const std::string& argument) {
  if (argument.empty()) {
    return fail(ErrorCode::kInvalidArgument, "MODEL is empty");
  }
  std::error_code error;
  if (std::filesystem::exists(argument, error)) {
    if (std::filesystem::is_regular_file(argument, error) &&
        std::filesystem::path(argument).extension() == ".safetensors") {
      return fail(ErrorCode::kUnsupported,
                  "{}: a single safetensors file is no model; give the folder with "
                  "model.safetensors, config.json and the tokenizer's files",
                  argument);
    }
    return std::filesystem::path(argument);
  }
  const store::Store models = TRY(store::Store::open(TRY(store::default_root())));
  if (const auto stored = TRY(models.find(argument))) {
    return models.path_of(*stored);
  }
  if (store::find_in_catalogue(argument) != nullptr) {
    return fail(ErrorCode::kNotFound, "{} is not stored yet; bring it with: edgewise pull {}",
                argument, argument);
  }
  if (error == std::errc::permission_denied) {
    return fail(ErrorCode::kPermissionDenied, "cannot look at {}: {}", argument, error.message());
  }
  return fail(ErrorCode::kNotFound,
              "no file and no stored model is called \"{}\"; `edgewise list` shows what is stored, "
              "`edgewise list --catalogue` what can be pulled",
              argument);
}

Result<std::filesystem::path> packed_folder_of(const std::filesystem::path& model) {
  const char* set = std::getenv("EDGEWISE_PACKED");
  const std::string_view wanted = set == nullptr ? "" : set;
  if (wanted == "off") {
    return std::filesystem::path();
  }
  if (!wanted.empty() && wanted != "on") {
    return fail(ErrorCode::kInvalidArgument, "EDGEWISE_PACKED={}: it can be on or off", wanted);
  }
  const Result<std::filesystem::path> root = store::default_root();
  const auto models = root ? store::Store::open(*root) : tl::unexpected(root.error());
  const auto folder = models ? models->packed_folder(model) : tl::unexpected(models.error());
  return folder ? *folder : std::filesystem::path();
}

Result<std::shared_ptr<const tensor::ModelFile>> open_model_file(const std::string& argument) {
  return std::make_shared<const tensor::ModelFile>(
      TRY(tensor::ModelFile::open(TRY(resolve_model(argument)))));
}

}  // namespace edgewise::app
