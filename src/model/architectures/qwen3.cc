#include "model/architectures/architectures.h"

namespace edgewise::model {

// Q and K are normalized per head before the rope.
Result<ModelSpec> read_qwen3(const SpecReader& reader) {
  ModelSpec spec = TRY(reader.common());
  spec.rope_style = kernels::RopeStyle::kNeox;
  spec.qk_norm = true;
  return spec;
}

}  // namespace edgewise::model
