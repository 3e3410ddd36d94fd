// Hugging Face folders with model.safetensors. Private to the readers in tensor/.
//
// The container is generic; the translation to GGUF's keys and tensor names exists for BERT
// encoders (sentence-transformers), the one family that is commonly published in this form only.
#pragma once

#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "tensor/model_file.h"

namespace edgewise::tensor {

struct SafetensorsEntry {
  std::string name;
  std::string dtype;                // "F32", "BF16", "I64", ...
  std::vector<std::int64_t> shape;  // outermost first; empty: a scalar
  std::span<const std::byte> data;  // exactly the bytes of the shape; any alignment
};

// The tensors of a .safetensors file, in the order of the header. `file` is used in error messages.
Result<std::vector<SafetensorsEntry>> parse_safetensors(std::span<const std::byte> bytes,
                                                        std::string_view file);

// model.safetensors, config.json and the tokenizer's files of `folder`.
Result<ModelFile> open_safetensors_folder(const std::filesystem::path& folder);

}  // namespace edgewise::tensor
