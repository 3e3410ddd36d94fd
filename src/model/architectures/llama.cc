#include "model/architectures/architectures.h"

namespace edgewise::model {

// Llama 2 and 3, Mistral, Mixtral, SmolLM2. The converter has permuted Q and K for the paired rope.
Result<ModelSpec> read_llama(const SpecReader& reader) {
  ModelSpec spec = TRY(reader.common());
  spec.rope_style = kernels::RopeStyle::kNorm;
  const double scale = TRY(reader.number_or("attention.scale", 0.0));
  if (scale > 0) {
    spec.attention_scale = static_cast<float>(scale);
  }
  TRY_VOID(reader.read_experts(spec));
  return spec;
}

}  // namespace edgewise::model
