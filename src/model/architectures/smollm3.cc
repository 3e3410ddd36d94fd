#include "model/architectures/architectures.h"

namespace edgewise::model {

// Llama with no rope on each fourth layer.
Result<ModelSpec> read_smollm3(const SpecReader& reader) {
  ModelSpec spec = TRY(reader.common());
  spec.rope_style = kernels::RopeStyle::kNorm;
  for (std::size_t l = 3; l < spec.layers.size(); l += 4) {
    spec.layers[l].rope = false;
  }
  return spec;
}

}  // namespace edgewise::model
