#include "model/architectures/architectures.h"

namespace edgewise::model {

// qwen3 with a mixture of experts: softmax over all, the chosen ones renormalized.
Result<ModelSpec> read_qwen3moe(const SpecReader& reader) {
  ModelSpec spec = TRY(read_qwen3(reader));
  TRY_VOID(reader.read_experts(spec));
  return spec;
}

}  // namespace edgewise::model
