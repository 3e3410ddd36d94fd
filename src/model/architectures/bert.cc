// BERT sentence encoders (all-MiniLM, BGE): learned positions, LayerNorm after each residual add, biases everywhere,
// exact GELU, every token sees every other. Gives embeddings only.
#include "model/architectures/architectures.h"

namespace edgewise::model {

Result<ModelSpec> read_bert(const SpecReader& reader) {
  ModelSpec spec = TRY(reader.common());
  spec.norm = NormKind::kLayer;
  spec.norm_eps = static_cast<float>(TRY(reader.number("attention.layer_norm_epsilon")));
  spec.pre_norm = false;
  spec.norm_after_residual = true;
  spec.causal = TRY(reader.boolean_or("attention.causal", false));
  spec.final_norm = false;
  spec.absolute_positions = true;
  spec.token_types = reader.file().find("token_types.weight") != nullptr;
  spec.embedding_norm = true;
  spec.generates = false;
  spec.rope_dims = 0;
  spec.ropes.clear();
  spec.ffn = FeedForward::kPlain;
  spec.activation = Activation::kGeluErf;
  return spec;
}

}  // namespace edgewise::model
