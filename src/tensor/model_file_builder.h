// Puts a ModelFile together. Private to the readers in tensor/.
#pragma once

#include "tensor/model_file.h"

namespace edgewise::tensor {

class ModelFileBuilder {
 public:
  explicit ModelFileBuilder(std::filesystem::path path) { file_.path_ = std::move(path); }

  Metadata& metadata() { return file_.metadata_; }
  std::int64_t tensor_count() const { return std::ssize(file_.tensors_); }
  void keep(platform::MappedFile mapping) { file_.mappings_.push_back(std::move(mapping)); }

  Result<void> add(TensorView tensor) {
    if (!file_.index_.emplace(tensor.name, file_.tensors_.size()).second) {
      return fail(ErrorCode::kCorrupt, "{}: tensor {} appears twice", file_.path_.string(), tensor.name);
    }
    file_.tensors_.push_back(std::move(tensor));
    return {};
  }

  ModelFile build() { return std::move(file_); }

 private:
  ModelFile file_;
};

}  // namespace edgewise::tensor
