#include "model/architectures/architectures.h"

namespace edgewise::model {

// Llama with biases on Q, K and V (read where they exist) and the half-split rope.
Result<ModelSpec> read_qwen2(const SpecReader& reader) {
  ModelSpec spec = TRY(reader.common());
  spec.rope_style = kernels::RopeStyle::kNeox;
  return spec;
}

}  // namespace edgewise::model
