// Qwen 2 and 2.5: llama with biases on Q, K and V (read wherever a file has them) and half-split rotation.
#include "model/architectures/architectures.h"

namespace edgewise::model {

Result<ModelSpec> read_qwen2(const SpecReader& reader) {
  ModelSpec spec = TRY(reader.common());
  spec.rope_style = kernels::RopeStyle::kNeox;
  return spec;
}

}  // namespace edgewise::model
