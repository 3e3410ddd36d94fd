#include "model/architectures/architectures.h"

namespace edgewise::model {

// Fused QKV and gate-up projections; the reader has chosen the rope divisors (LongRoPE).
Result<ModelSpec> read_phi3(const SpecReader& reader) {
  ModelSpec spec = TRY(reader.common());
  spec.rope_style = kernels::RopeStyle::kNeox;
  spec.fused_gate_up = true;
  return spec;
}

}  // namespace edgewise::model
