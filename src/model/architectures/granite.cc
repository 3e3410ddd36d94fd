#include "model/architectures/architectures.h"

namespace edgewise::model {

// Llama with four multipliers.
Result<ModelSpec> read_granite(const SpecReader& reader) {
  ModelSpec spec = TRY(reader.common());
  spec.rope_style = kernels::RopeStyle::kNorm;
  spec.embedding_scale = static_cast<float>(TRY(reader.number_or("embedding_scale", 1.0)));
  spec.residual_scale = static_cast<float>(TRY(reader.number_or("residual_scale", 1.0)));
  const double logit_divisor = TRY(reader.number_or("logit_scale", 1.0));
  if (logit_divisor == 0.0) {
    return fail(ErrorCode::kCorrupt, "metadata key granite.logit_scale is 0");
  }
  spec.logit_scale = static_cast<float>(1.0 / logit_divisor);
  const double attention = TRY(reader.number_or("attention.scale", 0.0));
  if (attention > 0) {
    spec.attention_scale = static_cast<float>(attention);
  }
  return spec;
}

}  // namespace edgewise::model
