// Gemma 2: scaled embedding, norms before and after each block, GeGLU, soft-capped scores and logits, and a sliding
// window in every other layer. The converter has added the 1 of the norms' weights.
#include <cmath>

#include "model/architectures/architectures.h"

namespace edgewise::model {

Result<ModelSpec> read_gemma2(const SpecReader& reader) {
  ModelSpec spec = TRY(reader.common());
  spec.rope_style = kernels::RopeStyle::kNeox;
  spec.post_norm = true;
  spec.activation = Activation::kGelu;
  spec.embedding_scale = std::sqrt(static_cast<float>(spec.width));
  spec.attention_softcap =
      static_cast<float>(TRY(reader.number_or("attn_logit_softcapping", 50.0)));
  spec.final_softcap = static_cast<float>(TRY(reader.number_or("final_logit_softcapping", 30.0)));
  constexpr std::size_t kLayersOf27B = 46;  // scales by width per head instead of head size
  if (spec.layers.size() == kLayersOf27B) {
    const std::int64_t width_per_head = spec.width / spec.heads;
    spec.attention_scale = 1.0F / std::sqrt(static_cast<float>(width_per_head));
  }
  RopeSpec local = spec.ropes[0];
  local.base = TRY(reader.number_or("rope.freq_base_swa", local.base));
  spec.ropes.push_back(local);
  TRY_VOID(
      reader.set_windows(spec, TRY(reader.integer_or("attention.sliding_window", 4096)), 2, 1));
  return spec;
}

}  // namespace edgewise::model
