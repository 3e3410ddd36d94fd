#include "model/architectures/spec_reader.h"

#include <algorithm>
#include <cmath>

#include "base/elementary.h"
#include "model/architectures/architectures.h"

namespace edgewise::model {
namespace {

// Before an allocation or a loop depends on it; check_spec() has the real limits.
constexpr std::int64_t kMaxLayers = 4096;

}  // namespace

Result<std::int64_t> SpecReader::integer(std::string_view key) const {
  const auto value = TRY(file_.metadata().integer(full(key)));
  if (!value) {
    return fail(ErrorCode::kCorrupt, "metadata key {} is missing", full(key));
  }
  return *value;
}

Result<std::int64_t> SpecReader::integer_or(std::string_view key, std::int64_t fallback) const {
  return TRY(file_.metadata().integer(full(key))).value_or(fallback);
}

Result<double> SpecReader::number(std::string_view key) const {
  const auto value = TRY(file_.metadata().number(full(key)));
  if (!value) {
    return fail(ErrorCode::kCorrupt, "metadata key {} is missing", full(key));
  }
  return *value;
}

Result<double> SpecReader::number_or(std::string_view key, double fallback) const {
  return TRY(file_.metadata().number(full(key))).value_or(fallback);
}

Result<bool> SpecReader::boolean_or(std::string_view key, bool fallback) const {
  return TRY(file_.metadata().boolean(full(key))).value_or(fallback);
}

Result<std::vector<std::int64_t>> SpecReader::per_layer(std::string_view key,
                                                        std::int64_t layers,
                                                        std::int64_t fallback) const {
  if (const auto* values = file_.metadata().integers(full(key))) {
    if (std::ssize(*values) != layers) {
      return fail(ErrorCode::kCorrupt, "metadata key {}: {} values for {} layers", full(key),
                  values->size(), layers);
    }
    return *values;
  }
  return std::vector<std::int64_t>(static_cast<std::size_t>(layers),
                                   TRY(integer_or(key, fallback)));
}

Result<ModelSpec> SpecReader::common() const {
  ModelSpec spec;
  spec.architecture = architecture_;
  spec.name = TRY(file_.metadata().string("general.name")).value_or("");
  spec.width = TRY(integer("embedding_length"));
  spec.context = TRY(integer("context_length"));
  TRY_VOID(read_layers(spec));
  if (spec.width < 1) {
    return fail(ErrorCode::kCorrupt, "metadata key {} is {}", full("embedding_length"), spec.width);
  }
  spec.head_dim = TRY(integer_or("attention.key_length", spec.width / spec.heads));
  spec.value_dim = TRY(integer_or("attention.value_length", spec.width / spec.heads));
  spec.norm_eps = static_cast<float>(TRY(number_or("attention.layer_norm_rms_epsilon", 1e-5)));
  spec.attention_scale =
      1.0F / std::sqrt(static_cast<float>(std::max<std::int64_t>(1, spec.head_dim)));
  TRY_VOID(read_rope(spec));
  TRY_VOID(read_pooling(spec));
  return spec;
}

Result<void> SpecReader::read_layers(ModelSpec& spec) const {
  const std::int64_t layers = TRY(integer("block_count"));
  if (layers < 1 || layers > kMaxLayers) {
    return fail(ErrorCode::kCorrupt, "metadata key {}: {} is not between 1 and {}",
                full("block_count"), layers, kMaxLayers);
  }
  const auto heads = TRY(per_layer("attention.head_count", layers, 0));
  const auto widths = TRY(per_layer("feed_forward_length", layers, 0));
  spec.heads = heads[0];
  spec.ffn_width = widths[0];
  if (std::ranges::any_of(heads, [&](auto h) { return h != heads[0]; }) ||
      std::ranges::any_of(widths, [&](auto w) { return w != widths[0]; })) {
    return fail(ErrorCode::kUnsupported,
                "{}: layers of different sizes (attention.head_count, feed_forward_length) are not "
                "supported",
                architecture_);
  }
  if (spec.heads < 1) {
    return fail(ErrorCode::kCorrupt, "metadata key {} is missing or {}",
                full("attention.head_count"), spec.heads);
  }
  for (const std::int64_t kv_heads :
       TRY(per_layer("attention.head_count_kv", layers, spec.heads))) {
    spec.layers.push_back({.kv_heads = kv_heads});
  }
  return {};
}

Result<void> SpecReader::read_rope(ModelSpec& spec) const {
  spec.rope_dims = TRY(integer_or("rope.dimension_count", spec.head_dim));
  if (spec.rope_dims < 0 || spec.rope_dims > spec.head_dim || spec.rope_dims % 2 != 0) {
    return fail(ErrorCode::kCorrupt,
                "metadata key {}: {} is not an even number up to {} (the head's size)",
                full("rope.dimension_count"), spec.rope_dims, spec.head_dim);
  }
  RopeSpec rope;
  rope.base = TRY(number_or("rope.freq_base", 10000.0));
  TRY_VOID(read_rope_scaling(rope, spec.context, spec.rope_dims));
  spec.ropes.push_back(std::move(rope));
  return {};
}

Result<void> SpecReader::read_rope_scaling(RopeSpec& rope,
                                           std::int64_t trained_context,
                                           std::int64_t rope_dims) const {
  const std::string type =
      TRY(file_.metadata().string(full("rope.scaling.type"))).value_or("linear");
  const std::int64_t original =
      TRY(integer_or("rope.scaling.original_context_length", trained_context));
  double factor = TRY(number_or("rope.scaling.factor", TRY(number_or("rope.scale_linear", 0.0))));
  factor = factor == 0.0 ? 1.0 : factor;  // 0 stands for "absent"
  rope.magnitude = TRY(number_or("rope.scaling.attn_factor", 1.0));
  if (type == "linear" || type == "longrope") {
    rope.linear_factor = factor;
  } else if (type == "yarn") {
    rope.linear_factor = factor;
    rope.yarn_ext_factor = TRY(number_or("rope.scaling.yarn_ext_factor", 1.0));
    rope.yarn_ext_factor = rope.yarn_ext_factor < 0.0 ? 1.0 : rope.yarn_ext_factor;
    rope.yarn_beta_fast = TRY(number_or("rope.scaling.yarn_beta_fast", 32.0));
    rope.yarn_beta_slow = TRY(number_or("rope.scaling.yarn_beta_slow", 1.0));
    rope.yarn_original_context = static_cast<double>(original);
    if (factor > 1.0) {
      rope.magnitude *=
          0.1 * elementary::log(factor) + 1.0;  // YaRN (arXiv 2309.00071), equation 22
    }
  } else if (type != "none") {
    return fail(
        ErrorCode::kUnsupported,
        "metadata key {}: rope scaling '{}' is not supported (none, linear, yarn, longrope are)",
        full("rope.scaling.type"), type);
  }
  const std::int64_t count = rope_dims / 2;
  rope.factors = TRY(rope_factors("rope_freqs.weight", count));
  auto for_long = TRY(rope_factors("rope_factors_long.weight", count));
  auto for_short = TRY(rope_factors("rope_factors_short.weight", count));
  if (rope.factors.empty()) {
    const bool is_long = (context_ > 0 ? context_ : trained_context) > original;
    rope.factors = std::move(is_long ? for_long : for_short);
  }
  return {};
}

Result<std::vector<float>> SpecReader::rope_factors(std::string_view tensor,
                                                    std::int64_t count) const {
  const tensor::TensorView* view = file_.find(tensor);
  if (view == nullptr) {
    return std::vector<float>();
  }
  if (view->cols() != count || view->rows() != 1) {
    return fail(ErrorCode::kCorrupt, "tensor {}: {} x {} values, expected {} (half of {})", tensor,
                view->cols(), view->rows(), count, full("rope.dimension_count"));
  }
  std::vector<float> values(static_cast<std::size_t>(count));
  tensor::dequantize(view->type, view->data.data(), values);
  if (!std::ranges::all_of(values, [](float f) { return std::isfinite(f) && f > 0.0F; })) {
    return fail(ErrorCode::kCorrupt, "tensor {}: a factor is not above 0", tensor);
  }
  return values;
}

Result<void> SpecReader::read_pooling(ModelSpec& spec) const {
  const std::int64_t type = TRY(integer_or("pooling_type", 0));
  if (type < 0 || type > 3) {
    return fail(
        ErrorCode::kUnsupported,
        "metadata key {}: pooling type {} is not supported (0 none, 1 mean, 2 cls, 3 last are)",
        full("pooling_type"), type);
  }
  constexpr Pooling kByNumber[] = {Pooling::kNone, Pooling::kMean, Pooling::kCls, Pooling::kLast};
  spec.pooling = kByNumber[type];
  return {};
}

Result<void> SpecReader::set_windows(ModelSpec& spec,
                                     std::int64_t window,
                                     std::int64_t period,
                                     int rope_table) const {
  constexpr std::string_view kKey = "attention.sliding_window_pattern";
  const auto* flags = file_.metadata().integers(full(kKey));
  if (flags != nullptr && flags->size() != spec.layers.size()) {
    return fail(ErrorCode::kCorrupt, "metadata key {}: {} values for {} layers", full(kKey),
                flags->size(), spec.layers.size());
  }
  if (flags == nullptr) {
    period = TRY(integer_or(kKey, period));
  }
  for (std::size_t i = 0; i < spec.layers.size(); ++i) {
    const auto layer = static_cast<std::int64_t>(i);
    const bool slides =
        flags != nullptr ? (*flags)[i] != 0 : period <= 0 || layer % period < period - 1;
    if (slides) {
      spec.layers[i].window = window;
      spec.layers[i].rope_table = rope_table;
    }
  }
  return {};
}

Result<void> SpecReader::read_experts(ModelSpec& spec) const {
  spec.experts = TRY(integer_or("expert_count", 0));
  if (spec.experts == 0) {
    return {};
  }
  spec.ffn = FeedForward::kMixtureOfExperts;
  spec.experts_used = TRY(integer("expert_used_count"));
  if (spec.experts_used < 1) {
    return fail(ErrorCode::kCorrupt, "metadata key {} is {}", full("expert_used_count"),
                spec.experts_used);
  }
  // Mixtral files give each expert's width as feed_forward_length, Qwen 3 files under a key of its own.
  spec.expert_width = TRY(integer_or("expert_feed_forward_length", spec.ffn_width));
  const double scale = TRY(number_or("expert_weights_scale", 1.0));
  spec.expert_weights_scale = scale == 0.0 ? 1.0F : static_cast<float>(scale);
  return {};
}

}  // namespace edgewise::model
