// What distinguishes one decoder (or encoder) from another, as data. An architecture's file fills this from the
// metadata; the shared transformer (transformer.h, and oracle.h in doubles) does what it says.
//
// A layer, with the parts that the flags switch on:
//   h = pre_norm ? norm(x) : x;  a = attention(h);  a = post_norm ? norm(a) : a;  x = x + residual_scale * a
//   and the same with the feed-forward network;  norm_after_residual: x = norm(x + a) instead.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/result.h"
#include "kernels/kernel_table.h"

namespace edgewise::model {

enum class NormKind { kRms, kLayer };
enum class Activation { kSilu, kGelu, kGeluErf };  // kGelu: the tanh approximation
enum class FeedForward { kGated, kPlain, kMixtureOfExperts };
enum class Pooling { kNone, kMean, kCls, kLast };

struct LayerSpec {
  std::int64_t kv_heads = 0;
  std::int64_t window = 0;  // 0: full attention
  bool rope = true;
  int rope_table = 0;  // index into ModelSpec::ropes
};

// One table of rotation angles: theta_i = base^(-2i/n) / factor_i, positions scaled by 1/linear_factor.
// With yarn, low frequencies are scaled, high ones are not, and those between are mixed (rope.h).
struct RopeSpec {
  double base = 10000.0;
  double linear_factor = 1.0;
  std::vector<float> factors;  // divisors per frequency (llama 3, longrope); empty: 1
  double magnitude = 1.0;      // multiplies cos and sin (yarn, longrope)
  // yarn; ext_factor 0: off
  double yarn_ext_factor = 0.0, yarn_beta_fast = 32.0, yarn_beta_slow = 1.0,
         yarn_original_context = 0.0;
};

struct ModelSpec {
  std::string architecture;
  std::string name;
  std::int64_t vocab = 0;         // V
  std::int64_t width = 0;         // C
  std::int64_t context = 0;       // trained context length
  std::int64_t heads = 0;         // H
  std::int64_t head_dim = 0;      // D
  std::int64_t value_dim = 0;     // Dv
  std::int64_t ffn_width = 0;     // F
  std::vector<LayerSpec> layers;  // L entries

  NormKind norm = NormKind::kRms;
  float norm_eps = 1e-5F;
  bool pre_norm = true;  // attn_norm / ffn_norm before the block
  bool post_norm =
      false;  // post_attention_norm / post_ffw_norm after the block, before the residual add
  bool norm_after_residual = false;  // bert: x = norm(x + block(x))
  bool causal = true;
  bool final_norm = true;

  bool qk_norm = false;             // attn_q_norm / attn_k_norm per head ...
  bool qk_norm_whole = false;       // ... or over the whole projection (olmo2)
  bool fused_gate_up = false;       // ffn_up holds gate and up (phi3)
  bool absolute_positions = false;  // position_embd added (bert)
  bool token_types = false;         // token_types row 0 added (bert)
  bool embedding_norm = false;      // token_embd_norm after the embedding (bert)
  bool generates = true;            // has logits; false: embeddings only (bert)

  kernels::RopeStyle rope_style = kernels::RopeStyle::kNorm;
  std::int64_t rope_dims = 0;  // of each head's D values; 0: no rope at all
  std::vector<RopeSpec> ropes;

  float attention_scale = 0.0F;    // of q . k
  float attention_softcap = 0.0F;  // 0: off
  float final_softcap = 0.0F;
  float embedding_scale = 1.0F;
  float residual_scale = 1.0F;
  float logit_scale = 1.0F;  // logits are multiplied by this

  FeedForward ffn = FeedForward::kGated;
  Activation activation = Activation::kSilu;
  std::int64_t experts = 0;  // E
  std::int64_t experts_used = 0;
  std::int64_t expert_width = 0;
  bool expert_weights_normalized = true;
  float expert_weights_scale = 1.0F;

  Pooling pooling =
      Pooling::kNone;  // of embeddings; kNone: the model does not say, the mean is taken
};

// Whether the numbers fit each other and the kernels' limits. Errors name the field and the architecture's keys.
Result<void> check_spec(const ModelSpec& spec);

// Of keys and values in the cache, all layers; 0 where nothing is kept.
std::int64_t kv_bytes_per_position(const ModelSpec& spec, kernels::KvType type);

}  // namespace edgewise::model
