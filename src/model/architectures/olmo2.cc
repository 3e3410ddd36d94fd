// OLMo 2 and 3: norms only after each block, RMS norms over the whole Q and K projections. OLMo 3 has a sliding window
// in three of four layers, whose rotation is not scaled.
#include "model/architectures/architectures.h"

namespace edgewise::model {

Result<ModelSpec> read_olmo2(const SpecReader& reader) {
  ModelSpec spec = TRY(reader.common());
  spec.rope_style = kernels::RopeStyle::kNeox;
  spec.pre_norm = false;
  spec.post_norm = true;
  spec.qk_norm_whole = true;
  const std::int64_t window = TRY(reader.integer_or("attention.sliding_window", 0));
  if (window > 0) {
    RopeSpec local;
    local.base = spec.ropes[0].base;
    spec.ropes.push_back(local);
    TRY_VOID(reader.set_windows(spec, window, 4, 1));
  }
  return spec;
}

}  // namespace edgewise::model
