// Llama 1 to 3 (3's frequency factors are the tensor rope_freqs), Mistral, Mixtral, SmolLM2 and many relatives.
// The converter has permuted Q and K, so rotation pairs are neighbours.
#include "model/architectures/architectures.h"

namespace edgewise::model {

Result<ModelSpec> read_llama(const SpecReader& reader) {
  ModelSpec spec = TRY(reader.common());
  const double scale = TRY(reader.number_or("attention.scale", 0.0));
  if (scale != 0.0) {
    spec.attention_scale = static_cast<float>(scale);
  }
  TRY_VOID(reader.read_experts(spec));
  return spec;
}

}  // namespace edgewise::model
