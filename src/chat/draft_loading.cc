#include "chat/draft_loading.h"

#include "text/same_vocabulary.h"

namespace edgewise::chat {
namespace {

Result<std::unique_ptr<model::Model>> load(const std::filesystem::path& path,
                                           const text::Tokenizer& tokenizer,
                                           const model::ModelSpec& target,
                                           kernels::Ops& ops,
                                           model::LoadOptions options) {
  if (!target.causal || !target.generates) {
    return fail(ErrorCode::kUnsupported,
                "the model ({}) makes embeddings, so there is nothing to guess",
                target.architecture);
  }
  const auto file = std::make_shared<const tensor::ModelFile>(TRY(tensor::ModelFile::open(path)));
  const auto own = TRY(text::Tokenizer::create(file->metadata()));
  TRY_VOID(text::check_same_vocabulary(tokenizer, *own));
  return model::Model::load(file, ops, std::move(options));
}

}  // namespace

Result<std::unique_ptr<model::Model>> load_draft_model(const std::filesystem::path& path,
                                                       const text::Tokenizer& tokenizer,
                                                       const model::ModelSpec& target,
                                                       kernels::Ops& ops,
                                                       model::LoadOptions options) {
  auto model = load(path, tokenizer, target, ops, std::move(options));
  return model ? std::move(model) : wrap(model.error(), "draft model " + path.filename().string());
}

}  // namespace edgewise::chat
