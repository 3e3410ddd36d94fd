// Qwen 3 with a mixture of experts in every layer: softmax over all, the chosen ones' weights made to sum to 1.
#include "model/architectures/architectures.h"

namespace edgewise::model {

Result<ModelSpec> read_qwen3moe(const SpecReader& reader) {
  ModelSpec spec = TRY(read_qwen3(reader));
  TRY_VOID(reader.read_experts(spec));
  if (spec.ffn != FeedForward::kMixtureOfExperts) {
    return fail(ErrorCode::kCorrupt, "metadata key qwen3moe.expert_count is missing or 0");
  }
  return spec;
}

}  // namespace edgewise::model
