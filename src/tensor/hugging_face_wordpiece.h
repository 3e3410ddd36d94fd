// A WordPiece vocabulary of a Hugging Face folder as GGUF's tokenizer.ggml.* keys. Private to the
// readers in tensor/.
#pragma once

#include <cstdint>
#include <filesystem>

#include "base/result.h"
#include "tensor/model_file.h"

namespace edgewise::tensor {

// Reads tokenizer.json, or else vocab.txt, and tokenizer_config.json. `vocab_size` is the number of
// rows of the embedding table: no id may reach it, ids without a token become unused ones.
Result<void> read_wordpiece_metadata(const std::filesystem::path& folder,
                                     std::int64_t vocab_size,
                                     Metadata& metadata);

}  // namespace edgewise::tensor
