// Qwen 3: llama with RMS norms on each head of Q and K before the half-split rotation.
#include "model/architectures/architectures.h"

namespace edgewise::model {

Result<ModelSpec> read_qwen3(const SpecReader& reader) {
  ModelSpec spec = TRY(reader.common());
  spec.rope_style = kernels::RopeStyle::kNeox;
  spec.qk_norm = true;
  return spec;
}

}  // namespace edgewise::model
