#include <cmath>

#include "model/architectures/architectures.h"

namespace edgewise::model {

// Norms before and after each block, softcapped scores and logits, alternating windows. The converter has added
// the 1 of Gemma's norm weights.
Result<ModelSpec> read_gemma2(const SpecReader& reader) {
  ModelSpec spec = TRY(reader.common());
  spec.rope_style = kernels::RopeStyle::kNeox;
  spec.post_norm = true;
  spec.activation = Activation::kGelu;
  spec.embedding_scale = std::sqrt(static_cast<float>(spec.width));
  spec.attention_softcap = static_cast<float>(TRY(reader.number_or("attn_logit_softcapping", 50.0)));
  spec.final_softcap = static_cast<float>(TRY(reader.number_or("final_logit_softcapping", 30.0)));
  constexpr std::int64_t kLayersOf27B = 46;  // scales by width per head instead of head size
  if (std::ssize(spec.layers) == kLayersOf27B) {
    spec.attention_scale = 1.0F / std::sqrt(static_cast<float>(spec.width / spec.heads));
  }
  TRY_VOID(reader.set_windows(spec, TRY(reader.integer_or("attention.sliding_window", 4096)), 2, 0));
  return spec;
}

}  // namespace edgewise::model
