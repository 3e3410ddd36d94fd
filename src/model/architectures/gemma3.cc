#include <cmath>

#include "model/architectures/architectures.h"

namespace edgewise::model {

// Gemma 2 without softcaps on scores, with per-head Q and K norms, and a rope base of its own for windowed layers.
Result<ModelSpec> read_gemma3(const SpecReader& reader) {
  ModelSpec spec = TRY(reader.common());
  spec.rope_style = kernels::RopeStyle::kNeox;
  spec.qk_norm = true;
  spec.post_norm = true;
  spec.activation = Activation::kGelu;
  spec.embedding_scale = std::sqrt(static_cast<float>(spec.width));
  spec.final_softcap = static_cast<float>(TRY(reader.number_or("final_logit_softcapping", 0.0)));
  constexpr std::int64_t kLayersOf27B = 62;  // scales by width per head instead of head size
  if (std::ssize(spec.layers) == kLayersOf27B) {
    spec.attention_scale = 1.0F / std::sqrt(static_cast<float>(spec.width / spec.heads));
  }
  RopeSpec local;  // scaling applies to the full layers only
  local.base = TRY(reader.number_or("rope.freq_base_swa", 10000.0));
  spec.ropes.push_back(local);
  const std::int64_t window = TRY(reader.integer_or("attention.sliding_window", 0));
  if (window > 0) {
    TRY_VOID(reader.set_windows(spec, window, 6, 1));
  }
  return spec;
}

}  // namespace edgewise::model
