#include "model/oracle.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <numbers>
#include <numeric>
#include <utility>

#include "base/check.h"
#include "model/common_key.h"
#include "model/flat_plan.h"
#include "model/oracle_matmul.h"
#include "model/rope.h"
#include "model/stored_position.h"
#include "model/weights.h"

namespace edgewise::model {
namespace {

using Row = std::span<double>;

double activate(Activation kind, double x) {
  switch (kind) {
    case Activation::kSilu:
      return x / (1.0 + std::exp(-x));
    case Activation::kGelu:  // Hendrycks & Gimpel 2016, arXiv 1606.08415: the tanh approximation
      return 0.5 * x *
             (1.0 + std::tanh(std::sqrt(2.0 / std::numbers::pi) * (x + 0.044715 * x * x * x)));
    case Activation::kGeluErf:
      return 0.5 * x * (1.0 + std::erf(x / std::sqrt(2.0)));
  }
  CHECK(false, "unknown activation");
}

void softmax(Row row) {
  const double top = *std::ranges::max_element(row);
  double sum = 0.0;
  for (double& x : row) {
    x = std::exp(x - top);
    sum += x;
  }
  for (double& x : row) {
    x /= sum;
  }
}

void normalize(const ModelSpec& spec, const Norm& norm, Row x) {
  const auto n = static_cast<double>(x.size());
  const double mean =
      spec.norm == NormKind::kLayer ? std::accumulate(x.begin(), x.end(), 0.0) / n : 0.0;
  double squares = 0.0;
  for (const double v : x) {
    squares += (v - mean) * (v - mean);
  }
  const double scale = 1.0 / std::sqrt(squares / n + static_cast<double>(spec.norm_eps));
  for (std::size_t i = 0; i < x.size(); ++i) {
    x[i] = (x[i] - mean) * scale * static_cast<double>(norm.weight[i]) +
           (norm.bias.empty() ? 0.0 : static_cast<double>(norm.bias[i]));
  }
}

void rotate(kernels::RopeStyle style,
            std::int64_t dims,
            const double* cos,
            const double* sin,
            double* head) {
  for (std::int64_t i = 0; i < dims / 2; ++i) {
    double& a = style == kernels::RopeStyle::kNorm ? head[2 * i] : head[i];
    double& b = style == kernels::RopeStyle::kNorm ? head[2 * i + 1] : head[i + dims / 2];
    const double turned = a * cos[i] - b * sin[i];
    b = a * sin[i] + b * cos[i];
    a = turned;
  }
}

// T rows of doubles.
struct Rows {
  Rows(std::int64_t count, std::int64_t width)
      : width_(width), values(static_cast<std::size_t>(count * width), 0.0) {}

  Row operator[](std::int64_t row) {
    return std::span(values).subspan(static_cast<std::size_t>(row * width_),
                                     static_cast<std::size_t>(width_));
  }

  std::int64_t width_;
  std::vector<double> values;
};

class Oracle final : public Model {
 public:
  Oracle(std::shared_ptr<const tensor::ModelFile> file,
         ModelSpec spec,
         Weights weights,
         platform::WorkerPool& pool)
      : file_(std::move(file)), spec_(std::move(spec)), weights_(std::move(weights)), pool_(pool) {
    for (const RopeSpec& rope : spec_.ropes) {
      frequencies_.push_back(rope_frequencies(rope, spec_.rope_dims));
    }
  }

  const ModelSpec& spec() const override { return spec_; }

  std::vector<cache::KvLayerShape> kv_shapes() const override { return kv_shapes_of(spec_); }

  std::int64_t weight_bytes() const override { return file_->file_bytes(); }

  std::int64_t weight_bytes_per_token() const override {
    return count_costs(weights_, spec_).stored_bytes_per_token;
  }

  std::int64_t macs_per_token() const override {
    return count_costs(weights_, spec_).macs_per_token;
  }

  StepResult forward(const StepPlan& plan, cache::KvCache& cache) override;
  void copy_positions(const PositionCopy& copy, cache::KvCache& cache) override;

 private:
  Rows embed();
  Rows multiply(const Linear& linear, Rows& x);
  Rows attention(std::int64_t index, Rows h, cache::KvCache& cache);
  void prepare_heads(std::int64_t index, Rows& q, Rows& k);
  std::vector<float> common_key_of(std::size_t layer, const cache::KvCache& cache) const;
  void turn(std::size_t layer,
            std::int64_t positions,
            std::span<const float> common,
            Row key) const;
  void store(std::int64_t index, Rows& k, Rows& v, cache::KvCache& cache);
  void attend(
      std::int64_t index, const FlatPlan::Part& part, Rows& q, cache::KvCache& cache, Rows& out);
  Rows feed_forward(const LayerWeights& layer, Rows h);
  Rows gated(const Linear& gate, const Linear& up, const Linear& down, Rows& h);
  Rows mixture(const LayerWeights& layer, Rows h);
  void add_block(const Norm& post_norm, Rows block, Rows& x);
  void emit_logits(const FlatPlan::Part& part, Rows& x);
  void emit_embedding(const FlatPlan::Part& part, Rows& x);

  std::shared_ptr<const tensor::ModelFile> file_;
  ModelSpec spec_;
  Weights weights_;
  platform::WorkerPool& pool_;
  std::vector<std::vector<double>> frequencies_;  // of each rope
  FlatPlan flat_;
  std::vector<std::vector<float>> results_;
  std::vector<std::span<float>> result_rows_;  // the same
};

Rows Oracle::multiply(const Linear& linear, Rows& x) {
  const std::int64_t tokens = std::ssize(x.values) / x.width_;
  Rows y(tokens, linear.matrix.rows);
  oracle_matmul(pool_, linear.matrix, x.values.data(), tokens, y.values.data());
  for (std::int64_t t = 0; t < tokens && !linear.bias.empty(); ++t) {
    std::ranges::transform(y[t], linear.bias, y[t].begin(),
                           [](double a, float b) { return a + static_cast<double>(b); });
  }
  return y;
}

Rows Oracle::embed() {
  Rows x(flat_.rows(), spec_.width);
  std::vector<float> row(static_cast<std::size_t>(spec_.width));
  for (std::int64_t t = 0; t < flat_.rows(); ++t) {
    const auto index = static_cast<std::size_t>(t);
    weights_.embedding.read_row(flat_.tokens[index], row);
    std::ranges::transform(row, x[t].begin(), [&](float v) {
      return static_cast<double>(v) * static_cast<double>(spec_.embedding_scale);
    });
    if (spec_.absolute_positions) {
      weights_.positions.read_row(flat_.positions[index], row);
      std::ranges::transform(x[t], row, x[t].begin(),
                             [](double a, float b) { return a + static_cast<double>(b); });
    }
    if (spec_.token_types) {
      std::ranges::transform(x[t], weights_.token_type, x[t].begin(),
                             [](double a, float b) { return a + static_cast<double>(b); });
    }
    if (spec_.embedding_norm) {
      normalize(spec_, weights_.embedding_norm, x[t]);
    }
  }
  return x;
}

void Oracle::prepare_heads(std::int64_t index, Rows& q, Rows& k) {
  const LayerSpec& layer_spec = spec_.layers[static_cast<std::size_t>(index)];
  const LayerWeights& layer = weights_.layers[static_cast<std::size_t>(index)];
  const std::int64_t d = spec_.head_dim;
  const bool rotates = layer_spec.rope && spec_.rope_dims > 0;
  std::vector<double> cos(static_cast<std::size_t>(spec_.rope_dims / 2));
  std::vector<double> sin(cos.size());
  for (std::int64_t t = 0; t < flat_.rows(); ++t) {
    if (rotates) {
      const auto table = static_cast<std::size_t>(layer_spec.rope_table);
      rope_angles(spec_.ropes[table], frequencies_[table],
                  flat_.positions[static_cast<std::size_t>(t)], cos.data(), sin.data());
    }
    for (const auto& [row, norm] :
         {std::pair<Row, const Norm*>{q[t], &layer.q_norm}, {k[t], &layer.k_norm}}) {
      if (spec_.qk_norm_whole) {
        normalize(spec_, *norm, row);
      }
      for (std::int64_t h = 0; h * d < std::ssize(row); ++h) {
        const Row head = row.subspan(static_cast<std::size_t>(h * d), static_cast<std::size_t>(d));
        if (spec_.qk_norm) {
          normalize(spec_, *norm, head);
        }
        if (rotates) {
          rotate(spec_.rope_style, spec_.rope_dims, cos.data(), sin.data(), head.data());
        }
      }
    }
  }
}

std::vector<float> Oracle::common_key_of(std::size_t layer, const cache::KvCache& cache) const {
  return cache.type() == kernels::KvType::kQ8
             ? layer_common_key(spec_, layer, weights_.layers[layer], frequencies_)
             : std::vector<float>();
}

// A head's key on by so many positions; `common` is what it was stored without.
void Oracle::turn(std::size_t layer,
                  std::int64_t positions,
                  std::span<const float> common,
                  Row key) const {
  const LayerSpec& of = spec_.layers[layer];
  if (!of.rope || spec_.rope_dims == 0) {
    return;
  }
  const auto table = static_cast<std::size_t>(of.rope_table);
  RopeSpec rope = spec_.ropes[table];
  rope.magnitude = 1.0;
  std::vector<double> cos(frequencies_[table].size());
  std::vector<double> sin(cos.size());
  rope_angles(rope, frequencies_[table], positions, cos.data(), sin.data());
  for (std::size_t i = 0; i < common.size(); ++i) {
    key[i] += static_cast<double>(common[i]);
  }
  rotate(spec_.rope_style, spec_.rope_dims, cos.data(), sin.data(), key.data());
  for (std::size_t i = 0; i < common.size(); ++i) {
    key[i] -= static_cast<double>(common[i]);
  }
}

void Oracle::copy_positions(const PositionCopy& copy, cache::KvCache& cache) {
  std::vector<double> key(static_cast<std::size_t>(spec_.head_dim));
  std::vector<double> value(static_cast<std::size_t>(spec_.value_dim));
  const auto at = [&](std::size_t layer, std::span<const cache::BlockId> blocks, std::int64_t p) {
    const cache::BlockId block = blocks[static_cast<std::size_t>(p / kernels::kKeyBlock)];
    return StoredPosition(cache.view(static_cast<std::int64_t>(layer), block), spec_,
                          p % kernels::kKeyBlock);
  };
  for (std::size_t layer = 0; layer < spec_.layers.size(); ++layer) {
    const std::vector<float> common = common_key_of(layer, cache);
    for (std::int64_t i = 0; i < copy.count; ++i) {
      const StoredPosition from = at(layer, copy.source, copy.from + i);
      const StoredPosition to = at(layer, copy.blocks, copy.to + i);
      for (std::int64_t h = 0; h < spec_.layers[layer].kv_heads; ++h) {
        from.get_key(h, key);
        turn(layer, copy.shift(),
             common.empty() ? std::span<const float>()
                            : std::span(common).subspan(
                                  static_cast<std::size_t>(h * spec_.head_dim), key.size()),
             key);
        to.set_key(h, key);
        from.get_value(h, value);
        to.set_value(h, value);
      }
    }
  }
}

void Oracle::store(std::int64_t index, Rows& k, Rows& v, cache::KvCache& cache) {
  const auto layer = static_cast<std::size_t>(index);
  const std::int64_t kv_heads = spec_.layers[layer].kv_heads;
  const std::vector<float> common = common_key_of(layer, cache);
  for (std::int64_t t = 0; t < flat_.rows(); ++t) {
    const StoredPosition stored(cache.view(index, flat_.block(t)), spec_, flat_.slot(t));
    for (std::size_t i = 0; i < common.size(); ++i) {
      k[t][i] -= static_cast<double>(common[i]);
    }
    for (std::int64_t h = 0; h < kv_heads; ++h) {
      stored.set_key(h, k[t].subspan(static_cast<std::size_t>(h * spec_.head_dim),
                                     static_cast<std::size_t>(spec_.head_dim)));
      stored.set_value(h, v[t].subspan(static_cast<std::size_t>(h * spec_.value_dim),
                                       static_cast<std::size_t>(spec_.value_dim)));
    }
  }
}

// One segment against all it may see: softmax(scale * q . k) . v, position by position.
void Oracle::attend(
    std::int64_t index, const FlatPlan::Part& part, Rows& q, cache::KvCache& cache, Rows& out) {
  const LayerSpec& layer = spec_.layers[static_cast<std::size_t>(index)];
  const std::int64_t length = part.segment->first_position + part.tokens();
  const std::int64_t dk = spec_.head_dim;
  const std::int64_t dv = spec_.value_dim;
  Rows keys(length * layer.kv_heads, dk);
  Rows values(length * layer.kv_heads, dv);
  for (std::int64_t s = 0; s < length; ++s) {
    const StoredPosition stored(
        cache.view(index, part.segment->blocks[static_cast<std::size_t>(s / kernels::kKeyBlock)]),
        spec_, s % kernels::kKeyBlock);
    for (std::int64_t h = 0; h < layer.kv_heads; ++h) {
      stored.get_key(h, keys[s * layer.kv_heads + h]);
      stored.get_value(h, values[s * layer.kv_heads + h]);
    }
  }
  const std::int64_t group = spec_.heads / layer.kv_heads;
  pool_.parallel_for(
      part.tokens() * spec_.heads, 1, [&](std::int64_t begin, std::int64_t end, int) {
        std::vector<double> scores;
        for (std::int64_t i = begin; i < end; ++i) {
          const std::int64_t row = part.first_row + i / spec_.heads;
          const std::int64_t head = i % spec_.heads;
          const std::int64_t position = flat_.positions[static_cast<std::size_t>(row)];
          const std::int64_t first =
              layer.window > 0 ? std::max<std::int64_t>(0, position - layer.window + 1) : 0;
          const std::int64_t last = spec_.causal ? position : length - 1;
          const double* query = q[row].data() + head * dk;
          scores.clear();
          for (std::int64_t s = first; s <= last; ++s) {
            const double* key = keys[s * layer.kv_heads + head / group].data();
            double score = std::inner_product(query, query + dk, key, 0.0) *
                           static_cast<double>(spec_.attention_scale);
            if (spec_.attention_softcap > 0.0F) {
              const auto cap = static_cast<double>(spec_.attention_softcap);
              score = cap * std::tanh(score / cap);
            }
            scores.push_back(score);
          }
          softmax(scores);
          double* o = out[row].data() + head * dv;
          for (std::int64_t s = first; s <= last; ++s) {
            const double* value = values[s * layer.kv_heads + head / group].data();
            for (std::int64_t d = 0; d < dv; ++d) {
              o[d] += scores[static_cast<std::size_t>(s - first)] * value[d];
            }
          }
        }
      });
}

Rows Oracle::attention(std::int64_t index, Rows h, cache::KvCache& cache) {
  const LayerWeights& layer = weights_.layers[static_cast<std::size_t>(index)];
  Rows q = multiply(layer.q, h);
  Rows k = multiply(layer.k, h);
  Rows v = multiply(layer.v, h);
  prepare_heads(index, q, k);
  store(index, k, v, cache);
  Rows out(flat_.rows(), spec_.heads * spec_.value_dim);
  for (const FlatPlan::Part& part : flat_.parts) {
    attend(index, part, q, cache, out);
  }
  return multiply(layer.o, out);
}

Rows Oracle::gated(const Linear& gate, const Linear& up, const Linear& down, Rows& h) {
  Rows hidden = multiply(up, h);
  if (gate.matrix.is_present()) {
    const Rows gates = multiply(gate, h);
    for (std::size_t i = 0; i < hidden.values.size(); ++i) {
      hidden.values[i] *= activate(spec_.activation, gates.values[i]);
    }
  } else {
    for (double& x : hidden.values) {
      x = activate(spec_.activation, x);
    }
  }
  return multiply(down, hidden);
}

// Every token's best experts by router probability (ties: the lower id), weighted.
Rows Oracle::mixture(const LayerWeights& layer, Rows h) {
  const std::int64_t tokens = flat_.rows();
  Rows out(tokens, spec_.width);
  Rows router = multiply({layer.router, {}}, h);
  for (std::int64_t t = 0; t < tokens; ++t) {
    softmax(router[t]);
    std::vector<std::size_t> ids(layer.experts.size());
    std::iota(ids.begin(), ids.end(), 0U);
    std::ranges::sort(ids, [&](std::size_t a, std::size_t b) {
      return router[t][a] != router[t][b] ? router[t][a] > router[t][b] : a < b;
    });
    ids.resize(static_cast<std::size_t>(spec_.experts_used));
    double total = 0.0;
    for (const std::size_t id : ids) {
      total += router[t][id];
    }
    Rows x(1, spec_.width);
    std::ranges::copy(h[t], x[0].begin());
    for (const std::size_t id : ids) {
      const Expert& expert = layer.experts[id];
      const double weight = router[t][id] / (spec_.expert_weights_normalized ? total : 1.0) *
                            static_cast<double>(spec_.expert_weights_scale);
      Rows y = gated({expert.gate, {}}, {expert.up, {}}, {expert.down, {}}, x);
      std::ranges::transform(out[t], y[0], out[t].begin(),
                             [&](double a, double b) { return a + weight * b; });
    }
  }
  return out;
}

Rows Oracle::feed_forward(const LayerWeights& layer, Rows h) {
  return spec_.ffn == FeedForward::kMixtureOfExperts ? mixture(layer, std::move(h))
                                                     : gated(layer.gate, layer.up, layer.down, h);
}

void Oracle::add_block(const Norm& post_norm, Rows block, Rows& x) {
  for (std::int64_t t = 0; t < flat_.rows(); ++t) {
    if (spec_.post_norm) {
      normalize(spec_, post_norm, block[t]);
    }
    std::ranges::transform(x[t], block[t], x[t].begin(), [&](double a, double b) {
      return a + static_cast<double>(spec_.residual_scale) * b;
    });
    if (spec_.norm_after_residual) {
      normalize(spec_, post_norm, x[t]);
    }
  }
}

void Oracle::emit_logits(const FlatPlan::Part& part, Rows& x) {
  Rows wanted(part.wanted, spec_.width);
  for (std::int64_t i = 0; i < part.wanted; ++i) {
    std::ranges::copy(x[flat_.wanted[static_cast<std::size_t>(part.first_wanted + i)]],
                      wanted[i].begin());
  }
  Rows logits = multiply(weights_.output, wanted);
  const auto cap = static_cast<double>(spec_.final_softcap);
  for (std::int64_t i = 0; i < part.wanted; ++i) {
    std::vector<float>& row = results_.emplace_back();
    for (const double logit : logits[i]) {
      const double scaled = logit * static_cast<double>(spec_.logit_scale);
      row.push_back(static_cast<float>(cap > 0.0 ? cap * std::tanh(scaled / cap) : scaled));
    }
  }
}

void Oracle::emit_embedding(const FlatPlan::Part& part, Rows& x) {
  const Pooling pooling = pooling_of(spec_);
  const std::int64_t begin = pooling == Pooling::kLast ? part.tokens() - 1 : 0;
  const std::int64_t end = pooling == Pooling::kCls ? 1 : part.tokens();
  std::vector<double> pooled(static_cast<std::size_t>(spec_.width), 0.0);
  for (std::int64_t i = begin; i < end; ++i) {
    std::ranges::transform(pooled, x[part.first_row + i], pooled.begin(), std::plus<>());
  }
  const double length =
      std::sqrt(std::inner_product(pooled.begin(), pooled.end(), pooled.begin(), 0.0));
  std::vector<float>& row = results_.emplace_back();
  for (const double v : pooled) {
    row.push_back(static_cast<float>(length > 0.0 ? v / length : 0.0));
  }
}

StepResult Oracle::forward(const StepPlan& plan, cache::KvCache& cache) {
  flat_.assign(plan, spec_);
  results_.clear();
  Rows x = embed();
  for (std::int64_t i = 0; i < std::ssize(spec_.layers); ++i) {
    const LayerWeights& layer = weights_.layers[static_cast<std::size_t>(i)];
    const auto before = [&](const Norm& norm) {
      Rows h = x;
      for (std::int64_t t = 0; t < flat_.rows() && spec_.pre_norm; ++t) {
        normalize(spec_, norm, h[t]);
      }
      return h;
    };
    add_block(layer.attention_post_norm, attention(i, before(layer.attention_norm), cache), x);
    add_block(layer.ffn_post_norm, feed_forward(layer, before(layer.ffn_norm)), x);
  }
  for (std::int64_t t = 0; t < flat_.rows() && spec_.final_norm; ++t) {
    normalize(spec_, weights_.output_norm, x[t]);
  }
  for (const FlatPlan::Part& part : flat_.parts) {
    if (part.segment->want == Want::kEmbedding) {
      emit_embedding(part, x);
    } else if (part.wanted > 0) {
      emit_logits(part, x);
    }
  }
  result_rows_.assign(results_.begin(), results_.end());
  return {result_rows_};
}

}  // namespace

Result<std::unique_ptr<Model>> load_oracle(std::shared_ptr<const tensor::ModelFile> file,
                                           ModelSpec spec,
                                           platform::WorkerPool& pool) {
  Weights weights = TRY(find_weights(*file, spec));
  return std::make_unique<Oracle>(std::move(file), std::move(spec), std::move(weights), pool);
}

}  // namespace edgewise::model
