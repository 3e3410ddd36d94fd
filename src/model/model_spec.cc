#include "model/model_spec.h"

#include <algorithm>
#include <cmath>

namespace edgewise::model {
namespace {

// Far above any real model, far below what could overflow a product of two dimensions.
constexpr std::int64_t kMaxLayers = 4096;
constexpr std::int64_t kMaxHeads = 65536;
constexpr std::int64_t kMaxWidth = std::int64_t{1} << 24;

Result<void> in_range(const ModelSpec& spec,
                      std::string_view key,
                      std::int64_t value,
                      std::int64_t low,
                      std::int64_t high) {
  if (value < low || value > high) {
    return fail(ErrorCode::kCorrupt, "metadata key {}.{}: {} is not between {} and {}",
                spec.architecture, key, value, low, high);
  }
  return {};
}

Result<void> finite_number(const ModelSpec& spec, std::string_view key, double value) {
  if (!std::isfinite(value)) {
    return fail(ErrorCode::kCorrupt, "metadata key {}.{} is not a finite number", spec.architecture,
                key);
  }
  return {};
}

Result<void> check_heads(const ModelSpec& spec) {
  TRY_VOID(in_range(spec, "attention.head_count", spec.heads, 1, kMaxHeads));
  TRY_VOID(in_range(spec, "attention.key_length", spec.head_dim, 1, kMaxHeads));
  TRY_VOID(in_range(spec, "attention.value_length", spec.value_dim, 1, kMaxHeads));
  for (const std::int64_t dim : {spec.head_dim, spec.value_dim}) {
    if (dim % 16 != 0) {
      return fail(ErrorCode::kUnsupported,
                  "{}: heads of {} values; only multiples of 16 are supported", spec.architecture,
                  dim);
    }
  }
  for (const LayerSpec& layer : spec.layers) {
    TRY_VOID(in_range(spec, "attention.head_count_kv", layer.kv_heads, 1, spec.heads));
    TRY_VOID(in_range(spec, "attention.sliding_window", layer.window, 0, std::int64_t{1} << 40));
    if (spec.heads % layer.kv_heads != 0) {
      return fail(ErrorCode::kCorrupt,
                  "metadata key {}.attention.head_count_kv: {} heads cannot share {} key/value "
                  "heads evenly",
                  spec.architecture, spec.heads, layer.kv_heads);
    }
    if (spec.heads / layer.kv_heads > kernels::kAttentionTileRows) {
      return fail(ErrorCode::kUnsupported,
                  "{}: {} query heads per key/value head; at most {} are supported",
                  spec.architecture, spec.heads / layer.kv_heads, kernels::kAttentionTileRows);
    }
  }
  return {};
}

Result<void> check_rope(const ModelSpec& spec) {
  TRY_VOID(in_range(spec, "rope.dimension_count", spec.rope_dims, 0, spec.head_dim));
  if (spec.rope_dims % 2 != 0) {
    return fail(ErrorCode::kCorrupt, "metadata key {}.rope.dimension_count: {} is odd",
                spec.architecture, spec.rope_dims);
  }
  for (const RopeSpec& rope : spec.ropes) {
    if (!(std::isfinite(rope.base) && rope.base > 1.0)) {
      return fail(ErrorCode::kCorrupt, "metadata key {}.rope.freq_base: {} is not above 1",
                  spec.architecture, rope.base);
    }
    if (!(std::isfinite(rope.linear_factor) && rope.linear_factor > 0.0)) {
      return fail(ErrorCode::kCorrupt, "metadata key {}.rope.scaling.factor: {} is not above 0",
                  spec.architecture, rope.linear_factor);
    }
    for (const double value :
         {rope.magnitude, rope.yarn_ext_factor, rope.yarn_beta_fast, rope.yarn_beta_slow}) {
      TRY_VOID(finite_number(spec, "rope.scaling", value));
    }
    if (rope.yarn_ext_factor != 0.0 && !(rope.yarn_original_context >= 1.0 &&
                                         rope.yarn_beta_fast > 0.0 && rope.yarn_beta_slow > 0.0)) {
      return fail(
          ErrorCode::kCorrupt,
          "metadata keys {}.rope.scaling.*: yarn needs a positive original context and betas",
          spec.architecture);
    }
  }
  return {};
}

Result<void> check_experts(const ModelSpec& spec) {
  if (spec.ffn != FeedForward::kMixtureOfExperts) {
    return in_range(spec, "feed_forward_length", spec.ffn_width, 1, kMaxWidth);
  }
  TRY_VOID(in_range(spec, "expert_count", spec.experts, 1, 65536));
  TRY_VOID(in_range(spec, "expert_used_count", spec.experts_used, 1, spec.experts));
  return in_range(spec, "expert_feed_forward_length", spec.expert_width, 1, kMaxWidth);
}

}  // namespace

Result<void> check_spec(const ModelSpec& spec) {
  TRY_VOID(in_range(spec, "vocab_size", spec.vocab, 1, kMaxWidth));
  TRY_VOID(in_range(spec, "embedding_length", spec.width, 1, kMaxWidth));
  TRY_VOID(in_range(spec, "context_length", spec.context, 1, std::int64_t{1} << 30));
  TRY_VOID(in_range(spec, "block_count", std::ssize(spec.layers), 1, kMaxLayers));
  TRY_VOID(check_heads(spec));
  TRY_VOID(check_rope(spec));
  TRY_VOID(check_experts(spec));
  if (!(std::isfinite(spec.norm_eps) && spec.norm_eps >= 0.0F)) {
    return fail(
        ErrorCode::kCorrupt,
        "metadata key {}.attention.layer_norm_rms_epsilon: {} is not a small positive number",
        spec.architecture, spec.norm_eps);
  }
  for (const auto& [key, value] : {std::pair{"attention.scale", spec.attention_scale},
                                   {"attn_logit_softcapping", spec.attention_softcap},
                                   {"final_logit_softcapping", spec.final_softcap},
                                   {"embedding_scale", spec.embedding_scale},
                                   {"residual_scale", spec.residual_scale},
                                   {"logit_scale", spec.logit_scale},
                                   {"expert_weights_scale", spec.expert_weights_scale}}) {
    TRY_VOID(finite_number(spec, key, value));
  }
  return {};
}

std::int64_t kv_bytes_per_position(const ModelSpec& spec, kernels::KvType type) {
  std::int64_t bytes = 0;
  for (const LayerSpec& layer : spec.layers) {
    bytes += layer.kv_heads * kernels::kv_head_bytes(type, spec.head_dim, spec.value_dim);
  }
  return spec.causal ? bytes : 0;
}

}  // namespace edgewise::model
