// Granite 3: llama with multipliers on the embedding, both residual branches, the scores and the logits.
#include "model/architectures/architectures.h"

namespace edgewise::model {
namespace {

// 0 stands for "absent" in these keys.
float value_or(double value, float fallback) {
  return value == 0.0 ? fallback : static_cast<float>(value);
}

}  // namespace

Result<ModelSpec> read_granite(const SpecReader& reader) {
  ModelSpec spec = TRY(reader.common());
  spec.attention_scale =
      value_or(TRY(reader.number_or("attention.scale", 0.0)), spec.attention_scale);
  spec.embedding_scale = value_or(TRY(reader.number_or("embedding_scale", 0.0)), 1.0F);
  spec.residual_scale = value_or(TRY(reader.number_or("residual_scale", 0.0)), 1.0F);
  const double logit_divisor = TRY(reader.number("logit_scale"));
  if (logit_divisor == 0.0) {
    return fail(ErrorCode::kCorrupt, "metadata key granite.logit_scale is 0");
  }
  spec.logit_scale = static_cast<float>(1.0 / logit_divisor);
  if (!TRY(reader.boolean_or("rope.scaling.finetuned",
                             true))) {  // this family's way to say: no rotation
    spec.rope_dims = 0;
  }
  return spec;
}

}  // namespace edgewise::model
