// What a Hugging Face folder says about a BERT encoder, in GGUF's terms: the keys and names are
// those that llama.cpp's converter gives (conversion/bert.py, gguf-py tensor_mapping.py). Private
// to the readers in tensor/.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "tensor/model_file.h"

namespace edgewise::tensor {

struct TensorName {
  std::string gguf;
  bool keep_f32 = false;  // position and type embeddings: added, never multiplied
};

// nullopt: a tensor that embeddings do not need. An error: one that changes the result and is not
// known.
Result<std::optional<TensorName>> bert_tensor_name(std::string_view file, std::string_view name);

// From config.json, modules.json, 1_Pooling/config.json, tokenizer.json (or vocab.txt) and
// tokenizer_config.json. `embedding_shape`, of token_embd.weight, bounds the vocabulary; empty:
// absent.
Result<Metadata> read_bert_metadata(const std::filesystem::path& folder,
                                    const std::vector<std::int64_t>& embedding_shape);

}  // namespace edgewise::tensor
