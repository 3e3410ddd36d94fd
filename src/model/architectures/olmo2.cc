#include "model/architectures/architectures.h"

namespace edgewise::model {

// Norms only after each block; Q and K are normalized over the whole projection.
Result<ModelSpec> read_olmo2(const SpecReader& reader) {
  ModelSpec spec = TRY(reader.common());
  spec.rope_style = kernels::RopeStyle::kNeox;
  spec.pre_norm = false;
  spec.post_norm = true;
  spec.qk_norm_whole = true;
  return spec;
}

}  // namespace edgewise::model
