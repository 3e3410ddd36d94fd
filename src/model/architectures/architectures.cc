#include "model/architectures/architectures.h"

#include <array>
#include <utility>

namespace edgewise::model {
namespace {

using ReadSpec = Result<ModelSpec> (*)(const SpecReader&);

constexpr std::array<std::pair<std::string_view, ReadSpec>, 11> kArchitectures{{
    {"bert", read_bert},
    {"gemma2", read_gemma2},
    {"gemma3", read_gemma3},
    {"granite", read_granite},
    {"llama", read_llama},
    {"olmo2", read_olmo2},
    {"phi3", read_phi3},
    {"qwen2", read_qwen2},
    {"qwen3", read_qwen3},
    {"qwen3moe", read_qwen3moe},
    {"smollm3", read_smollm3},
}};

Result<ModelSpec> finish(ModelSpec spec, const tensor::ModelFile& file) {
  const tensor::TensorView* table = TRY(file.require("token_embd.weight"));
  const auto* tokens = file.metadata().strings("tokenizer.ggml.tokens");
  spec.vocab = table->rows();
  if (tokens != nullptr && std::ssize(*tokens) != spec.vocab) {
    return fail(ErrorCode::kCorrupt,
                "tensor token_embd.weight has {} rows, but the tokenizer has {} tokens "
                "(tokenizer.ggml.tokens)",
                spec.vocab, tokens->size());
  }
  const auto size = TRY(file.metadata().integer(fmt::format("{}.vocab_size", spec.architecture)));
  if (tokens == nullptr && size && *size != spec.vocab) {
    return fail(ErrorCode::kCorrupt,
                "tensor token_embd.weight has {} rows, but metadata key {}.vocab_size says {}",
                spec.vocab, spec.architecture, *size);
  }
  TRY_VOID(check_spec(spec));
  return spec;
}

}  // namespace

std::string supported_architectures() {
  std::string names;
  for (const auto& [name, read] : kArchitectures) {
    names += names.empty() ? "" : ", ";
    names += name;
  }
  return names;
}

Result<ModelSpec> read_spec(const tensor::ModelFile& file, std::int64_t context) {
  const auto architecture = TRY(file.metadata().string("general.architecture"));
  if (!architecture) {
    return fail(
        ErrorCode::kCorrupt,
        "metadata key general.architecture is missing: not a language model, or a damaged file");
  }
  for (const auto& [name, read] : kArchitectures) {
    if (name == *architecture) {
      return finish(TRY(read(SpecReader(file, *architecture, context))), file);
    }
  }
  return fail(ErrorCode::kUnsupported,
              "the model's architecture '{}' is not supported; these are: {}", *architecture,
              supported_architectures());
}

}  // namespace edgewise::model
