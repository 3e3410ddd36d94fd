// GGUF v2/v3 (little-endian) from bytes. ModelFile (model_file.h) is what the rest of the program
// uses.
#pragma once

#include <cstddef>
#include <span>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "tensor/model_file.h"

namespace edgewise::tensor {

struct GgufContent {
  Metadata metadata;
  std::vector<TensorView> tensors;  // disjoint views into the bytes; names are unique
  std::vector<UnsupportedTensor> unsupported;
  std::size_t header_bytes =
      0;  // of everything before the tensors' data; nothing here points into it
};

// `file` is used in error messages.
Result<GgufContent> parse_gguf(std::span<const std::byte> bytes,
                               std::string_view file,
                               UnsupportedTypes policy);

}  // namespace edgewise::tensor
