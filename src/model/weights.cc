#include "model/weights.h"

#include <algorithm>
#include <cmath>
#include <set>
#include <utility>

#include "model/row_buffer.h"

namespace edgewise::model {
namespace {

using tensor::TensorView;

// Tensors that an architecture's file has already read, or that only other uses of a model need.
constexpr std::string_view kElsewhere[] = {"rope_freqs.weight", "rope_factors_long.weight",
                                           "rope_factors_short.weight"};
constexpr std::string_view kBertHeads[] = {"cls.", "cls_out", "pooler", "embeddings.position_ids",
                                           "position_ids"};

std::string shape_text(std::span<const std::int64_t> shape) {
  std::string text;
  for (const std::int64_t n : shape) {
    text += fmt::format("{}{}", text.empty() ? "[" : ", ", n);
  }
  return text + "]";
}

// Looks tensors up, checks their shapes, and remembers which were asked for.
class Finder {
 public:
  Finder(const tensor::ModelFile& file, const ModelSpec& spec) : file_(file), spec_(spec) {}

  bool has(const std::string& name) const { return file_.find(name) != nullptr; }

  Result<const TensorView*> tensor(const std::string& name, std::vector<std::int64_t> shape) {
    const TensorView* view = TRY(file_.require(name));
    used_.insert(name);
    std::vector<std::int64_t> actual = view->shape;
    actual.resize(4, 1);  // trailing dimensions of 1 may be stored or not
    std::vector<std::int64_t> expected = shape;
    expected.resize(4, 1);
    if (actual != expected) {
      return fail(ErrorCode::kCorrupt,
                  "tensor {} has the shape {}, but the metadata of this {} model ask for {}", name,
                  shape_text(view->shape), spec_.architecture, shape_text(shape));
    }
    return view;
  }

  Result<std::vector<float>> vector(const std::string& name, std::int64_t count) {
    const TensorView* view = TRY(tensor(name, {count}));
    std::vector<float> values(static_cast<std::size_t>(count));
    tensor::dequantize(view->type, view->data.data(), values);
    return values;
  }

  Result<std::vector<float>> vector_if_any(const std::string& name, std::int64_t count) {
    return has(name) ? vector(name, count) : std::vector<float>();
  }

  Result<Matrix> matrix(const std::string& name, std::int64_t rows, std::int64_t cols) {
    const TensorView* view = TRY(tensor(name, {cols, rows}));
    return Matrix{view->type, rows, cols, view->data, {}};
  }

  Result<Linear> linear(const std::string& base, std::int64_t rows, std::int64_t cols) {
    Linear
        found;  // not Linear{TRY(..), TRY(..)}: g++ 12 leaks the first member when the second TRY returns
    found.matrix = TRY(matrix(base + ".weight", rows, cols));
    found.bias = TRY(vector_if_any(base + ".bias", rows));
    return found;
  }

  Result<Norm> norm(const std::string& base, std::int64_t count) {
    Norm found;
    found.weight = TRY(vector(base + ".weight", count));
    found.bias = TRY(vector_if_any(base + ".bias", count));
    return found;
  }

  // Row 0 of a table of any number of rows.
  Result<std::vector<float>> first_row(const std::string& name, std::int64_t cols) {
    const TensorView* view = TRY(file_.require(name));
    const Matrix table = TRY(matrix(name, view->rows(), cols));
    std::vector<float> row(static_cast<std::size_t>(cols));
    if (view->rows() < 1) {
      return fail(ErrorCode::kCorrupt, "tensor {} is empty", name);
    }
    table.read_row(0, row);
    return row;
  }

  // A tensor that nothing asked for means mathematics that we would leave out.
  Result<void> check_all_used() const {
    for (const TensorView& view : file_.tensors()) {
      const bool elsewhere = std::ranges::find(kElsewhere, view.name) != std::end(kElsewhere) ||
                             (!spec_.generates && std::ranges::any_of(kBertHeads, [&](auto p) {
                               return view.name.starts_with(p);
                             }));
      if (!elsewhere && !used_.contains(view.name)) {
        return fail(ErrorCode::kUnsupported,
                    "tensor {} is not part of the {} architecture as this program knows it",
                    view.name, spec_.architecture);
      }
    }
    return {};
  }

 private:
  const tensor::ModelFile& file_;
  const ModelSpec& spec_;
  std::set<std::string, std::less<>> used_;
};

// Rows [begin, begin + rows) of a matrix.
Matrix rows_of(const Matrix& whole, std::int64_t begin, std::int64_t rows) {
  const auto row_bytes = static_cast<std::size_t>(tensor::storage_bytes(whole.type, whole.cols));
  return {whole.type,
          rows,
          whole.cols,
          whole.stored.subspan(static_cast<std::size_t>(begin) * row_bytes,
                               static_cast<std::size_t>(rows) * row_bytes),
          {}};
}

Linear rows_of(const Linear& whole, std::int64_t begin, std::int64_t rows) {
  Linear part{rows_of(whole.matrix, begin, rows), {}};
  if (!whole.bias.empty()) {
    part.bias.assign(whole.bias.begin() + begin, whole.bias.begin() + begin + rows);
  }
  return part;
}

Result<void> find_attention(Finder& find,
                            const ModelSpec& spec,
                            std::int64_t index,
                            LayerWeights& layer) {
  const std::string prefix = fmt::format("blk.{}.", index);
  const std::int64_t kv_heads = spec.layers[static_cast<std::size_t>(index)].kv_heads;
  const std::int64_t q_rows = spec.heads * spec.head_dim;
  const std::int64_t k_rows = kv_heads * spec.head_dim;
  const std::int64_t v_rows = kv_heads * spec.value_dim;
  if (find.has(prefix + "attn_qkv.weight")) {
    const Linear whole =
        TRY(find.linear(prefix + "attn_qkv", q_rows + k_rows + v_rows, spec.width));
    layer.q = rows_of(whole, 0, q_rows);
    layer.k = rows_of(whole, q_rows, k_rows);
    layer.v = rows_of(whole, q_rows + k_rows, v_rows);
  } else {
    layer.q = TRY(find.linear(prefix + "attn_q", q_rows, spec.width));
    layer.k = TRY(find.linear(prefix + "attn_k", k_rows, spec.width));
    layer.v = TRY(find.linear(prefix + "attn_v", v_rows, spec.width));
  }
  layer.o = TRY(find.linear(prefix + "attn_output", spec.width, spec.heads * spec.value_dim));
  if (spec.qk_norm || spec.qk_norm_whole) {
    layer.q_norm =
        TRY(find.norm(prefix + "attn_q_norm", spec.qk_norm_whole ? q_rows : spec.head_dim));
    layer.k_norm =
        TRY(find.norm(prefix + "attn_k_norm", spec.qk_norm_whole ? k_rows : spec.head_dim));
  }
  return {};
}

Result<void> find_norms(Finder& find,
                        const ModelSpec& spec,
                        std::int64_t index,
                        LayerWeights& layer) {
  const std::string prefix = fmt::format("blk.{}.", index);
  if (spec.pre_norm) {
    layer.attention_norm = TRY(find.norm(prefix + "attn_norm", spec.width));
    layer.ffn_norm = TRY(find.norm(prefix + "ffn_norm", spec.width));
  }
  if (spec.post_norm) {
    layer.attention_post_norm = TRY(find.norm(prefix + "post_attention_norm", spec.width));
    layer.ffn_post_norm = TRY(find.norm(prefix + "post_ffw_norm", spec.width));
  }
  if (spec.norm_after_residual) {
    layer.attention_post_norm = TRY(find.norm(prefix + "attn_output_norm", spec.width));
    layer.ffn_post_norm = TRY(find.norm(prefix + "layer_output_norm", spec.width));
  }
  return {};
}

// [cols, rows, E]
Result<std::vector<Matrix>> find_experts(Finder& find,
                                         const std::string& name,
                                         const ModelSpec& spec,
                                         std::int64_t rows,
                                         std::int64_t cols) {
  const TensorView* view = TRY(find.tensor(name, {cols, rows, spec.experts}));
  const Matrix all{view->type, rows * spec.experts, cols, view->data, {}};
  std::vector<Matrix> experts;
  for (std::int64_t e = 0; e < spec.experts; ++e) {
    experts.push_back(rows_of(all, e * rows, rows));
  }
  return experts;
}

Result<void> find_feed_forward(Finder& find,
                               const ModelSpec& spec,
                               std::int64_t index,
                               LayerWeights& layer) {
  const std::string prefix = fmt::format("blk.{}.", index);
  if (spec.ffn == FeedForward::kMixtureOfExperts) {
    layer.router = TRY(find.matrix(prefix + "ffn_gate_inp.weight", spec.experts, spec.width));
    const auto gates = TRY(
        find_experts(find, prefix + "ffn_gate_exps.weight", spec, spec.expert_width, spec.width));
    const auto ups =
        TRY(find_experts(find, prefix + "ffn_up_exps.weight", spec, spec.expert_width, spec.width));
    const auto downs = TRY(
        find_experts(find, prefix + "ffn_down_exps.weight", spec, spec.width, spec.expert_width));
    for (std::size_t e = 0; e < gates.size(); ++e) {
      layer.experts.push_back({gates[e], ups[e], downs[e]});
    }
    return {};
  }
  if (spec.fused_gate_up) {
    const Linear whole = TRY(find.linear(prefix + "ffn_up", 2 * spec.ffn_width, spec.width));
    layer.gate = rows_of(whole, 0, spec.ffn_width);
    layer.up = rows_of(whole, spec.ffn_width, spec.ffn_width);
  } else {
    layer.up = TRY(find.linear(prefix + "ffn_up", spec.ffn_width, spec.width));
    if (spec.ffn == FeedForward::kGated) {
      layer.gate = TRY(find.linear(prefix + "ffn_gate", spec.ffn_width, spec.width));
    }
  }
  layer.down = TRY(find.linear(prefix + "ffn_down", spec.width, spec.ffn_width));
  return {};
}

Result<void> find_ends(Finder& find, const ModelSpec& spec, Weights& weights) {
  weights.embedding = TRY(find.matrix("token_embd.weight", spec.vocab, spec.width));
  if (spec.absolute_positions) {
    weights.positions = TRY(find.matrix("position_embd.weight", spec.context, spec.width));
  }
  if (spec.token_types) {
    weights.token_type = TRY(find.first_row("token_types.weight", spec.width));
  }
  if (spec.embedding_norm) {
    weights.embedding_norm = TRY(find.norm("token_embd_norm", spec.width));
  }
  if (spec.final_norm) {
    weights.output_norm = TRY(find.norm("output_norm", spec.width));
  }
  if (spec.generates) {
    const bool tied = !find.has("output.weight");
    weights.output.matrix =
        tied ? weights.embedding : TRY(find.matrix("output.weight", spec.vocab, spec.width));
    weights.output.bias = TRY(find.vector_if_any("output.bias", spec.vocab));
  }
  return {};
}

template <typename W, typename M>
std::vector<M*> list_matrices(W& weights) {
  std::vector<M*> all;
  const auto add = [&all](M& matrix) {
    if (matrix.is_present()) {
      all.push_back(&matrix);
    }
  };
  for (auto& layer : weights.layers) {
    for (auto* linear :
         {&layer.q, &layer.k, &layer.v, &layer.o, &layer.gate, &layer.up, &layer.down}) {
      add(linear->matrix);
    }
    add(layer.router);
    for (auto& expert : layer.experts) {
      add(expert.gate);
      add(expert.up);
      add(expert.down);
    }
  }
  add(weights.output.matrix);
  return all;
}

}  // namespace

Reader reader_of(std::initializer_list<const Matrix*> matrices) {
  Reader reader;
  for (const Matrix* matrix : matrices) {
    if (matrix->is_present()) {
      (takes_codes(matrix->type) ? reader.codes : reader.values) = true;
    }
  }
  return reader;
}

void Matrix::read_row(std::int64_t row, std::span<float> out) const {
  const std::int64_t row_bytes = tensor::storage_bytes(type, cols);
  tensor::dequantize(type, stored.data() + row * row_bytes, out);
}

std::vector<Matrix*> Weights::matrices() {
  return list_matrices<Weights, Matrix>(*this);
}

std::vector<const Matrix*> Weights::matrices() const {
  return list_matrices<const Weights, const Matrix>(*this);
}

Result<Weights> find_weights(const tensor::ModelFile& file, const ModelSpec& spec) {
  Finder find(file, spec);
  Weights weights;
  TRY_VOID(find_ends(find, spec, weights));
  for (std::int64_t i = 0; i < std::ssize(spec.layers); ++i) {
    LayerWeights& layer = weights.layers.emplace_back();
    TRY_VOID(find_norms(find, spec, i, layer));
    TRY_VOID(find_attention(find, spec, i, layer));
    TRY_VOID(find_feed_forward(find, spec, i, layer));
  }
  TRY_VOID(find.check_all_used());
  return weights;
}

WeightCosts count_costs(const Weights& weights, const ModelSpec& spec) {
  WeightCosts costs;
  const auto add = [&costs](const Matrix& matrix, std::int64_t times) {
    costs.stored_bytes_per_token += static_cast<std::int64_t>(matrix.stored.size()) * times;
    costs.macs_per_token += matrix.rows * matrix.cols * times;
  };
  for (const LayerWeights& layer : weights.layers) {
    for (const Linear* linear :
         {&layer.q, &layer.k, &layer.v, &layer.o, &layer.gate, &layer.up, &layer.down}) {
      add(linear->matrix, 1);
    }
    add(layer.router, 1);
    if (!layer.experts.empty()) {  // all of one size
      for (const Matrix* matrix :
           {&layer.experts[0].gate, &layer.experts[0].up, &layer.experts[0].down}) {
        add(*matrix, spec.experts_used);
      }
    }
  }
  add(weights.output.matrix, 1);
  return costs;
}

}  // namespace edgewise::model
