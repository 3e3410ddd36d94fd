#include "model/transformer.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <numeric>
#include <utility>

#include "base/check.h"
#include "base/log.h"
#include "kernels/planes.h"
#include "model/common_key.h"
#include "model/rope.h"

namespace edgewise::model {
namespace {

using kernels::MatmulJob;
using kernels::Phase;

std::int64_t qkv_width(const ModelSpec& spec) {
  std::int64_t widest = 0;
  for (const LayerSpec& layer : spec.layers) {
    widest = std::max(
        widest, spec.heads * spec.head_dim + layer.kv_heads * (spec.head_dim + spec.value_dim));
  }
  return widest;
}

// From so many tokens on, outputs of gate and up are consumed in tiles.
constexpr std::int64_t kTileRows = 32;

// Why no shortlist gives this model's largest logits; empty: one does. A bias, scale or cap after the product could change
// the order or make new ties.
std::string why_no_shortlist(const Weights& weights, const ModelSpec& spec) {
  const tensor::DType type = weights.output.matrix.type;
  if (!kernels::can_split(type)) {
    return fmt::format("its output layer is {}; only of Q8_0 can half be read",
                       tensor::traits(type).name);
  }
  return weights.output.bias.empty() && spec.logit_scale == 1.0F && spec.final_softcap <= 0.0F
             ? ""
             : "its logits have a bias, a scale or a cap";
}

}  // namespace

Result<std::unique_ptr<Model>> Transformer::load(std::shared_ptr<const tensor::ModelFile> file,
                                                 ModelSpec spec,
                                                 kernels::Ops& ops,
                                                 const LoadOptions& options) {
  Weights weights = TRY(find_weights(*file, spec));
  if (options.shortlist && spec.causal) {
    const std::string obstacle = why_no_shortlist(weights, spec);
    weights.output.matrix.in_planes = obstacle.empty();
    if (!obstacle.empty()) {
      log(LogLevel::kWarning,
          "the shortlist has no effect with {}: {}. Leave it out, or take another model file",
          file->path().filename().string(), obstacle);
    }
  }
  Panels panels = TRY(prepare_panels(weights, *file, ops.pool(), options));
  return std::unique_ptr<Model>(new Transformer(std::move(file), std::move(spec),
                                                std::move(weights), std::move(panels), ops));
}

Transformer::Transformer(std::shared_ptr<const tensor::ModelFile> file,
                         ModelSpec spec,
                         Weights weights,
                         Panels panels,
                         kernels::Ops& ops)
    : file_(std::move(file)),
      spec_(std::move(spec)),
      weights_(std::move(weights)),
      panels_(std::move(panels)),
      ops_(ops),
      costs_(count_costs(weights_, spec_)),
      experts_(spec_, ops) {
  for (const RopeSpec& rope : spec_.ropes) {
    frequencies_.push_back(rope_frequencies(rope, spec_.rope_dims));
  }
  for (std::size_t i = 0; i < spec_.layers.size(); ++i) {
    common_keys_.push_back(layer_common_key(spec_, i, weights_.layers[i], frequencies_));
    for (float& x : common_keys_.back()) {
      x = -x;
    }
  }
}

StepResult Transformer::forward(const StepPlan& plan, cache::KvCache& cache) {
  flat_.assign(plan, spec_);
  rows_ = flat_.rows();
  embed();
  find_angles();
  block_.resize(rows_, spec_.width);
  enter_block(nullptr, attention_input(0));
  for (std::int64_t i = 0; i < std::ssize(spec_.layers); ++i) {
    run_layer(i, cache);
  }
  return results();
}

void Transformer::copy_positions(const PositionCopy& copy, cache::KvCache& cache) {
  model::copy_positions({spec_, frequencies_, common_keys_}, ops_, copy, cache);
}

void Transformer::embed() {
  ops_.enter(Phase::kEmbedding);
  x_.resize(rows_, spec_.width);
  const kernels::KernelTable& kernels = ops_.kernels();
  ops_.for_rows(rows_, spec_.width * 4, [&](std::int64_t t) {
    const auto index = static_cast<std::size_t>(t);
    float* x = x_.row(t);
    weights_.embedding.read_row(flat_.tokens[index], x_.view(t));
    if (spec_.embedding_scale != 1.0F) {
      kernels.scale(spec_.embedding_scale, spec_.width, x);
    }
    if (spec_.token_types) {
      kernels.add(weights_.token_type.data(), spec_.width, x);
    }
  });
  release_embedding();
  if (spec_.absolute_positions) {
    pooled_.resize(rows_, spec_.width);  // free until the end of the step
    ops_.for_rows(rows_, spec_.width * 4, [&](std::int64_t t) {
      weights_.positions.read_row(flat_.positions[static_cast<std::size_t>(t)], pooled_.view(t));
      kernels.add(pooled_.row(t), spec_.width, x_.row(t));
    });
  }
  if (spec_.embedding_norm) {
    ops_.for_rows(rows_, spec_.width, [&](std::int64_t t) {
      normalize(weights_.embedding_norm, x_.row(t), x_.row(t));
    });
  }
}

// The kernel maps a fault's neighbours too: left alone, the tokens of a long run would make the whole table resident, beside
// the panels when it is also the output layer. Mapping a page again takes about a microsecond.
void Transformer::release_embedding() {
  constexpr std::int64_t kRowsKept = 512;
  embedding_rows_read_ += rows_;
  if (embedding_rows_read_ >= kRowsKept) {
    embedding_rows_read_ = 0;
    file_->release(weights_.embedding.stored);
  }
}

void Transformer::find_angles() {
  if (spec_.rope_dims == 0) {
    return;
  }
  const std::int64_t half = spec_.rope_dims / 2;
  angles_.resize(std::ssize(spec_.ropes) * rows_, spec_.rope_dims);
  constexpr std::int64_t kSineCost = 64;  // of a double sine, in touched elements
  ops_.for_rows(std::ssize(spec_.ropes) * rows_, half * kSineCost, [&](std::int64_t i) {
    const auto table = static_cast<std::size_t>(i / rows_);
    float* angles = angles_.row(i);
    rope_angles(spec_.ropes[table], frequencies_[table],
                flat_.positions[static_cast<std::size_t>(i % rows_)], angles, angles + half);
  });
}

void Transformer::normalize(const Norm& norm, const float* x, float* out) const {
  if (spec_.norm == NormKind::kRms) {
    ops_.kernels().rms_norm(x, norm.weight.data(), spec_.norm_eps, spec_.width, out);
  } else {
    ops_.kernels().layer_norm(x, norm.weight.data(), norm.bias.empty() ? nullptr : norm.bias.data(),
                              spec_.norm_eps, spec_.width, out);
  }
}

// What the blocks of layer `index` read; after the last layer, what its readers do.
Transformer::Input Transformer::attention_input(std::int64_t index) const {
  if (index == std::ssize(spec_.layers)) {
    return {&weights_.output_norm, {.values = true}};
  }
  const LayerWeights& layer = weights_.layers[static_cast<std::size_t>(index)];
  return {&layer.attention_norm, reader_of({&layer.q.matrix, &layer.k.matrix, &layer.v.matrix})};
}

Transformer::Input Transformer::ffn_input(const LayerWeights& layer) const {
  if (spec_.ffn == FeedForward::kMixtureOfExperts) {
    return {&layer.ffn_norm, ExpertMixture::reader_of(layer)};
  }
  return {&layer.ffn_norm, reader_of({&layer.gate.matrix, &layer.up.matrix})};
}

// Between two blocks all work on a row is done while it is in the first-level cache: the block's output, if there was one, is
// added to the residual stream, and what the next one reads is made.
void Transformer::enter_block(const Output* output, const Input& input) {
  ops_.enter(Phase::kBetween);
  normed_.resize(rows_, spec_.width);
  ops_.for_rows(rows_, spec_.width * 2, [&](std::int64_t t) {
    if (output != nullptr) {
      add_output(*output, t);
    }
    const float* row = x_.row(t);
    if (input.norm->is_present()) {
      // The row of block_ is free, and in the cache.
      float* normed = input.reader.values ? normed_.values() + t * spec_.width : block_.row(t);
      normalize(*input.norm, row, normed);
      row = normed;
    } else if (input.reader.values) {
      std::copy_n(row, spec_.width, normed_.values() + t * spec_.width);
    }
    if (input.reader.codes) {
      ops_.kernels().quantize_row(row, spec_.width, normed_.row(t));
    }
  });
}

void Transformer::run_layer(std::int64_t index, cache::KvCache& cache) {
  const LayerWeights& layer = weights_.layers[static_cast<std::size_t>(index)];
  project_heads(index, cache);
  const bool is_last = index + 1 == std::ssize(spec_.layers);
  if (is_last && flat_.wanted.empty()) {
    rows_ = 0;
    return;
  }
  attend(index, cache);
  if (is_last) {
    keep_wanted_rows();
  }
  block_.resize(rows_, spec_.width);
  ops_.enter(Phase::kAttentionOut);
  const MatmulJob output{&layer.o.matrix.packed, block_.row(0), block_.stride()};
  multiply(ops_, attended_, {&output, 1});
  const Output attended{&layer.attention_post_norm, &layer.o.bias};
  enter_block(&attended, ffn_input(layer));
  if (spec_.ffn == FeedForward::kMixtureOfExperts) {
    experts_.run(layer, normed_.view(), block_);
  } else {
    feed_forward(layer);
  }
  const Output fed{&layer.ffn_post_norm, &layer.down.bias};
  enter_block(&fed, attention_input(index + 1));
}

void Transformer::project_heads(std::int64_t index, cache::KvCache& cache) {
  const LayerWeights& layer = weights_.layers[static_cast<std::size_t>(index)];
  qkv_.resize(rows_, qkv_width(spec_));
  float* q = qkv_.row(0);
  const std::array<MatmulJob, 3> jobs{
      {{&layer.q.matrix.packed, q, qkv_.stride()},
       {&layer.k.matrix.packed, q + layer.q.matrix.rows, qkv_.stride()},
       {&layer.v.matrix.packed, q + layer.q.matrix.rows + layer.k.matrix.rows, qkv_.stride()}}};
  ops_.enter(Phase::kQkv);
  ops_.matmul(jobs, normed_.view());
  ops_.enter(Phase::kHeads);
  ops_.for_rows(rows_, qkv_.width() * 4, [&](std::int64_t t) { finish_heads(index, t, cache); });
}

// Biases, norms and rotation of one token's heads, and its keys and values into the cache.
void Transformer::finish_heads(std::int64_t index, std::int64_t row, cache::KvCache& cache) {
  const LayerWeights& layer = weights_.layers[static_cast<std::size_t>(index)];
  const LayerSpec& layer_spec = spec_.layers[static_cast<std::size_t>(index)];
  const kernels::KernelTable& kernels = ops_.kernels();
  float* q = qkv_.row(row);
  float* k = q + layer.q.matrix.rows;
  float* v = k + layer.k.matrix.rows;
  const auto finish = [&](const Linear& linear, const Norm& norm, float* heads, bool is_value) {
    if (!linear.bias.empty()) {
      kernels.add(linear.bias.data(), linear.matrix.rows, heads);
    }
    if (is_value) {
      return;
    }
    if (norm.is_present()) {
      const std::int64_t size = std::ssize(norm.weight);  // a head, or all of them
      for (std::int64_t at = 0; at < linear.matrix.rows; at += size) {
        kernels.rms_norm(heads + at, norm.weight.data(), spec_.norm_eps, size, heads + at);
      }
    }
    if (layer_spec.rope && spec_.rope_dims > 0) {
      const float* angles = angles_.row(layer_spec.rope_table * flat_.rows() + row);
      kernels.rope(spec_.rope_style, heads, linear.matrix.rows / spec_.head_dim, spec_.head_dim,
                   spec_.rope_dims, angles, angles + spec_.rope_dims / 2);
    }
  };
  finish(layer.q, layer.q_norm, q, false);
  finish(layer.k, layer.k_norm, k, false);
  finish(layer.v, {}, v, true);
  const std::vector<float>& common = common_keys_[static_cast<std::size_t>(index)];
  if (cache.type() == kernels::KvType::kQ8 && !common.empty()) {
    kernels.add(common.data(), std::ssize(common), k);
  }
  const kernels::AttentionShape shape{
      .kv_heads = layer_spec.kv_heads, .head_dim = spec_.head_dim, .value_dim = spec_.value_dim};
  kernels.store_kv(shape, k, v, cache.view(index, flat_.block(row)), flat_.slot(row));
}

void Transformer::attend(std::int64_t index, cache::KvCache& cache) {
  const LayerSpec& layer = spec_.layers[static_cast<std::size_t>(index)];
  kernels::AttentionShape shape;
  shape.heads = spec_.heads;
  shape.kv_heads = layer.kv_heads;
  shape.head_dim = spec_.head_dim;
  shape.value_dim = spec_.value_dim;
  shape.scale = spec_.attention_scale;
  shape.softcap = spec_.attention_softcap;
  shape.window = layer.window;
  shape.causal = spec_.causal;
  const std::int64_t out_width = spec_.heads * spec_.value_dim;
  attended_.resize(rows_, out_width);
  kv_blocks_.clear();
  for (const FlatPlan::Part& part : flat_.parts) {
    for (const cache::BlockId block : part.segment->blocks) {
      kv_blocks_.push_back(cache.view(index, block));
    }
  }
  segments_.clear();
  std::size_t first_block = 0;
  for (const FlatPlan::Part& part : flat_.parts) {
    const std::size_t blocks = part.segment->blocks.size();
    segments_.push_back({qkv_.row(part.first_row), attended_.values() + part.first_row * out_width,
                         part.tokens(), part.segment->first_position,
                         part.segment->first_position + part.tokens(),
                         std::span(kv_blocks_).subspan(first_block, blocks)});
    first_block += blocks;
  }
  ops_.enter(Phase::kAttention);
  ops_.attention(shape, segments_, qkv_.stride(), out_width);
}

// After the last attention nobody looks at the other rows any more.
void Transformer::keep_wanted_rows() {
  const std::int64_t out_width = spec_.heads * spec_.value_dim;
  const std::int64_t wanted = std::ssize(flat_.wanted);
  for (std::int64_t i = 0; i < wanted; ++i) {
    const std::int64_t row = flat_.wanted[static_cast<std::size_t>(i)];
    if (row != i) {
      std::copy_n(x_.row(row), spec_.width, x_.row(i));
      std::copy_n(attended_.values() + row * out_width, out_width,
                  attended_.values() + i * out_width);
    }
  }
  rows_ = wanted;
  attended_.resize(rows_, out_width);
}

void Transformer::feed_forward(const LayerWeights& layer) {
  hidden_.resize(rows_, spec_.ffn_width);
  if (rows_ >= kTileRows) {
    activate_tiles(layer);
  } else {
    activate_rows(layer);
  }
  ops_.enter(Phase::kDown);
  const MatmulJob down{&layer.down.matrix.packed, block_.row(0), block_.stride()};
  ops_.matmul({&down, 1}, hidden_.view());
}

// Of few tokens: each matrix is read from front to back.
void Transformer::activate_rows(const LayerWeights& layer) {
  const std::int64_t width = spec_.ffn_width;
  const bool is_gated = layer.gate.matrix.is_present();
  gate_up_.resize(rows_, is_gated ? 2 * width : width);
  float* up = gate_up_.row(0) + (is_gated ? width : 0);
  const std::array<MatmulJob, 2> jobs{
      {{&layer.up.matrix.packed, up, gate_up_.stride()},
       {&layer.gate.matrix.packed, gate_up_.row(0), gate_up_.stride()}}};
  ops_.enter(Phase::kGateUp);
  ops_.matmul(std::span(jobs).first(is_gated ? 2 : 1), normed_.view());
  ops_.enter(Phase::kActivation);
  const Reader reader = reader_of({&layer.down.matrix});
  ops_.for_rows(rows_, width * 4, [&](std::int64_t t) {
    // What only codes are made of stays in its row.
    float* out = reader.values ? hidden_.values() + t * width : gate_up_.row(t);
    activate(layer, 0, width, gate_up_.row(t), is_gated ? gate_up_.row(t) + width : nullptr, out);
    if (reader.codes) {
      ops_.kernels().quantize_row(out, width, hidden_.row(t));
    }
  });
}

// Of many tokens: a tile's outputs become codes before they leave the cache.
void Transformer::activate_tiles(const LayerWeights& layer) {
  const std::int64_t width = spec_.ffn_width;
  const bool is_gated = layer.gate.matrix.is_present();
  const std::array<const kernels::PackedMatrix*, 2> matrices{
      is_gated ? &layer.gate.matrix.packed : &layer.up.matrix.packed, &layer.up.matrix.packed};
  const Reader reader = reader_of({&layer.down.matrix});
  ops_.enter(Phase::kGateUp);
  ops_.matmul_in_tiles(
      std::span(matrices).first(is_gated ? 2 : 1), normed_.view(),
      [&](const kernels::OutputTile& tile) {
        const std::int64_t begin = tile.column_begin;
        const std::int64_t count = tile.column_end - begin;
        for (std::int64_t t = tile.row_begin; t < tile.row_end; ++t) {
          float* first = tile.of(t, 0);
          float* out = reader.values ? hidden_.values() + t * width + begin : first;
          activate(layer, begin, count, first, is_gated ? tile.of(t, 1) : nullptr, out);
          if (reader.codes) {
            ops_.kernels().quantize_row(out, count, hidden_.row(t) + begin / kernels::kBlock);
          }
        }
      });
}

// out = activation(gate) * up, or activation(up) without a gate, of channels [begin, begin + count) of one token, with the
// biases added before. `first`: the gate's, or up's without one (`up` is nullptr then).
void Transformer::activate(const LayerWeights& layer,
                           std::int64_t begin,
                           std::int64_t count,
                           float* first,
                           float* up,
                           float* out) const {
  const kernels::KernelTable& kernels = ops_.kernels();
  if (!layer.gate.bias.empty()) {
    kernels.add(layer.gate.bias.data() + begin, count, first);
  }
  if (!layer.up.bias.empty()) {
    kernels.add(layer.up.bias.data() + begin, count, up != nullptr ? up : first);
  }
  if (spec_.activation == Activation::kSilu) {
    kernels.silu_mul(first, up, count, out);
  } else if (spec_.activation == Activation::kGelu) {
    kernels.gelu_mul(first, up, count, out);
  } else {
    kernels.gelu_erf_mul(first, up, count, out);
  }
}

void Transformer::add_output(const Output& output, std::int64_t row) {
  const kernels::KernelTable& kernels = ops_.kernels();
  float* block = block_.row(row);
  float* x = x_.row(row);
  if (!output.bias->empty()) {
    kernels.add(output.bias->data(), spec_.width, block);
  }
  if (spec_.post_norm) {
    normalize(*output.post_norm, block, block);
  }
  if (spec_.residual_scale == 1.0F) {
    kernels.add(block, spec_.width, x);
  } else {
    kernels.add_scaled(block, spec_.residual_scale, spec_.width, x);
  }
  if (spec_.norm_after_residual) {
    normalize(*output.post_norm, x, x);
  }
}

StepResult Transformer::results() {
  result_rows_.clear();
  if (rows_ == 0) {
    return {};
  }
  pooled_.resize(std::ssize(flat_.parts), spec_.width);
  const bool any_logits = std::ranges::any_of(flat_.parts, [](const FlatPlan::Part& part) {
    return part.wanted > 0 && part.segment->want != Want::kEmbedding;
  });
  if (any_logits) {
    emit_logits();
  }
  for (std::size_t s = 0; s < flat_.parts.size(); ++s) {
    const FlatPlan::Part& part = flat_.parts[s];
    if (part.segment->want == Want::kEmbedding) {
      const auto index = static_cast<std::int64_t>(s);
      emit_embedding(part, pooled_.row(index));
      result_rows_.push_back(pooled_.view(index));
      continue;
    }
    for (std::int64_t i = 0; i < part.wanted; ++i) {
      result_rows_.push_back(logits_.view(part.first_wanted + i));
    }
  }
  return {result_rows_};
}

void Transformer::emit_logits() {
  ops_.enter(Phase::kOutputLayer);
  const kernels::KernelTable& table = ops_.kernels();
  const bool quantized = tensor::traits(weights_.output.matrix.type).block_elems > 1;
  if (quantized) {
    quantize_twice();
  }
  const kernels::ActivationBuffer& input = quantized ? head_input_ : normed_;
  logits_.resize(quantized ? 2 * rows_ : rows_, spec_.vocab);
  if (find_largest_logits()) {
    return;
  }
  const MatmulJob job{&weights_.output.matrix.packed, logits_.row(0), logits_.stride()};
  ops_.matmul({&job, 1}, input.view());
  ops_.for_rows(rows_, spec_.vocab * 4, [&](std::int64_t t) {
    if (quantized) {
      table.add(logits_.row(rows_ + t), spec_.vocab, logits_.row(t));
    }
    if (!weights_.output.bias.empty()) {
      table.add(weights_.output.bias.data(), spec_.vocab, logits_.row(t));
    }
    if (spec_.logit_scale != 1.0F) {
      table.scale(spec_.logit_scale, spec_.vocab, logits_.row(t));
    }
    if (spec_.final_softcap > 0.0F) {
      table.softcap(spec_.final_softcap, spec_.vocab, logits_.row(t));
    }
  });
}

// For one row whose reader needs only its largest logits; false: all are to be computed.
bool Transformer::find_largest_logits() {
  const kernels::PackedMatrix& output = weights_.output.matrix.packed;
  if (rows_ != 1 || output.low == nullptr) {
    return false;
  }
  const auto reader =
      std::ranges::find_if(flat_.parts, [](const FlatPlan::Part& part) { return part.wanted > 0; });
  return reader->segment->want == Want::kLastLogits && reader->segment->largest > 0 &&
         shortlist_.find(ops_, output, head_input_.view(), reader->segment->largest, logits_.row(0),
                         logits_.stride());
}

// The output layer's rounding errors reach the logits undamped, and its time is that of reading its weights, which
// two rows share: so each row is followed, rows_ rows later, by what its 8-bit codes left over, quantized again.
// Together about 15 bits.
void Transformer::quantize_twice() {
  const std::int64_t width = spec_.width;
  kernels::ActivationBuffer& to = head_input_;
  to.resize(2 * rows_, width);
  const auto quantize = [&](std::int64_t row) {
    ops_.kernels().quantize_row(to.values() + row * width, width, to.row(row));
  };
  ops_.for_rows(rows_, width * 2, [&](std::int64_t t) {
    const std::int64_t rest = rows_ + t;
    std::copy_n(normed_.values() + t * width, width, to.values() + t * width);
    quantize(t);
    for (std::int64_t k = 0; k < width; ++k) {
      const kernels::CodeBlock& block = to.row(t)[k / kernels::kBlock];
      const float stored = static_cast<float>(block.codes[k % kernels::kBlock]) * block.scale;
      to.values()[rest * width + k] = to.values()[t * width + k] - stored;
    }
    quantize(rest);
  });
}

void Transformer::emit_embedding(const FlatPlan::Part& part, float* out) {
  const Pooling pooling = pooling_of(spec_);
  const std::int64_t begin = pooling == Pooling::kLast ? part.wanted - 1 : 0;
  const std::int64_t end = pooling == Pooling::kCls ? 1 : part.wanted;
  std::fill_n(out, spec_.width, 0.0F);
  for (std::int64_t i = begin; i < end; ++i) {
    ops_.kernels().add(normed_.values() + (part.first_wanted + i) * spec_.width, spec_.width, out);
  }
  const double length = std::sqrt(std::inner_product(out, out + spec_.width, out, 0.0));
  ops_.kernels().scale(length > 0.0 ? static_cast<float>(1.0 / length) : 0.0F, spec_.width, out);
}

}  // namespace edgewise::model
