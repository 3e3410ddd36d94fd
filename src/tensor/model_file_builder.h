// Puts a ModelFile together. Private to the readers in tensor/.
#pragma once

#include <cstddef>
#include <filesystem>
#include <span>
#include <utility>
#include <vector>

#include "tensor/model_file.h"

namespace edgewise::tensor {

class ModelFileBuilder {
 public:
  explicit ModelFileBuilder(std::filesystem::path path) { file_.path_ = std::move(path); }

  Metadata& metadata() { return file_.metadata_; }

  std::int64_t tensor_count() const {
    return std::ssize(file_.tensors_) + std::ssize(file_.unsupported_);
  }

  std::vector<std::int64_t> find_shape(std::string_view name) const {  // empty: absent
    const TensorView* tensor = file_.find(name);
    return tensor == nullptr ? std::vector<std::int64_t>() : tensor->shape;
  }

  // Keeps what tensors point into.
  void keep(platform::MappedFile mapping) { file_.mappings_.push_back(std::move(mapping)); }

  std::span<const std::byte> keep(std::vector<std::byte> converted) {
    return file_.converted_.emplace_back(std::move(converted));
  }

  Result<void> add(TensorView tensor);

  void add(UnsupportedTensor tensor) { file_.unsupported_.push_back(std::move(tensor)); }

  ModelFile build() { return std::move(file_); }

 private:
  ModelFile file_;
};

// "... holds type ..., which is not supported"
tl::unexpected<Error> unsupported_type_error(std::string_view file,
                                             std::string_view tensor,
                                             std::uint32_t type_id);

}  // namespace edgewise::tensor
