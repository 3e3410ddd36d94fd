// Gemma 3: Gemma 2 with norms on Q and K instead of capped scores. Five of six layers have a sliding window and a
// rotation base of their own; scaled rotation is for the full layers only.
#include <cmath>

#include "model/architectures/architectures.h"

namespace edgewise::model {

Result<ModelSpec> read_gemma3(const SpecReader& reader) {
  ModelSpec spec = TRY(reader.common());
  spec.rope_style = kernels::RopeStyle::kNeox;
  spec.qk_norm = true;
  spec.post_norm = true;
  spec.activation = Activation::kGelu;
  spec.embedding_scale = std::sqrt(static_cast<float>(spec.width));
  spec.final_softcap = static_cast<float>(TRY(reader.number_or("final_logit_softcapping", 0.0)));
  constexpr std::size_t kLayersOf27B = 62;  // scales by width per head instead of head size
  if (spec.layers.size() == kLayersOf27B) {
    const std::int64_t width_per_head = spec.width / spec.heads;
    spec.attention_scale = 1.0F / std::sqrt(static_cast<float>(width_per_head));
  }
  const std::int64_t window = TRY(reader.integer_or("attention.sliding_window", 0));
  if (window > 0) {
    RopeSpec local;
    local.base = TRY(reader.number_or("rope.freq_base_swa", 10000.0));
    spec.ropes.push_back(local);
    TRY_VOID(reader.set_windows(spec, window, 6, 1));
  }
  return spec;
}

}  // namespace edgewise::model
