#include "model/architectures/architectures.h"

namespace edgewise::model {

// Sentence-embedding encoder: learned positions, layer norms after the residual, plain GELU, no causal mask.
Result<ModelSpec> read_bert(const SpecReader& reader) {
  ModelSpec spec = TRY(reader.common());
  spec.norm = NormKind::kLayer;
  spec.norm_eps = static_cast<float>(TRY(reader.number_or("attention.layer_norm_epsilon", 1e-12)));
  spec.pre_norm = false;
  spec.norm_after_residual = true;
  spec.final_norm = false;
  spec.causal = false;
  spec.generates = false;
  spec.absolute_positions = true;
  spec.token_types = true;
  spec.embedding_norm = true;
  spec.ropes.clear();
  spec.rope_dims = 0;
  spec.ffn = FeedForward::kPlain;
  spec.activation = Activation::kGelu;
  return spec;
}

}  // namespace edgewise::model
