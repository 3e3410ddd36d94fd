// GGUF v2/v3 parsing from bytes; ModelFile (model_file.h) is what the rest of the program uses.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "base/result.h"
#include "tensor/model_file.h"

namespace edgewise::tensor {

struct GgufContent {
  Metadata metadata;
  std::vector<TensorView> tensors;  // views into the bytes
};

// `name` is used in error messages.
Result<GgufContent> parse_gguf(std::span<const std::byte> bytes, std::string_view name);

}  // namespace edgewise::tensor
