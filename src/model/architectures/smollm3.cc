// SmolLM3: llama without rotation in every fourth layer.
#include "model/architectures/architectures.h"

namespace edgewise::model {

Result<ModelSpec> read_smollm3(const SpecReader& reader) {
  ModelSpec spec = TRY(reader.common());
  for (std::size_t i = 3; i < spec.layers.size(); i += 4) {
    spec.layers[i].rope = false;
  }
  return spec;
}

}  // namespace edgewise::model
