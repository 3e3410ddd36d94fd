// A draft model from its file (docs/decisions/014-draft-model.md).
#pragma once

#include <filesystem>
#include <memory>

#include "base/result.h"
#include "model/model.h"
#include "text/tokenizer.h"

namespace edgewise::chat {

// `tokenizer` and `target` are the model's that it guesses for. Fails when its vocabulary is another, or
// that model makes no tokens. Errors name the file.
Result<std::unique_ptr<model::Model>> load_draft_model(const std::filesystem::path& path,
                                                       const text::Tokenizer& tokenizer,
                                                       const model::ModelSpec& target,
                                                       kernels::Ops& ops,
                                                       model::LoadOptions options);

}  // namespace edgewise::chat
