// Phi 3 and 4: llama with fused projections (taken apart at loading), half-split rotation and longrope factors.
// The sliding window keys of such files are unreliable; like llama.cpp, we do not read them.
#include "model/architectures/architectures.h"

namespace edgewise::model {

Result<ModelSpec> read_phi3(const SpecReader& reader) {
  ModelSpec spec = TRY(reader.common());
  spec.rope_style = kernels::RopeStyle::kNeox;
  spec.fused_gate_up = true;
  return spec;
}

}  // namespace edgewise::model
