// The fast model: every architecture's forward pass over kernels::Ops with packed weights, as its ModelSpec says.
//
// Rows of all segments go through each layer together; attention runs per segment. Each row's arithmetic is a
// function of that row and its cache only, so logits are the same bits alone or in a batch, in one chunk or many,
// on one thread or several. Buffers grow to the largest step seen; a steady decode allocates nothing in them.
#pragma once

#include <memory>
#include <vector>

#include "model/experts.h"
#include "model/flat_plan.h"
#include "model/model.h"
#include "model/row_buffer.h"
#include "model/weights.h"

namespace edgewise::model {

class Transformer final : public Model {
 public:
  static Result<std::unique_ptr<Model>> load(std::shared_ptr<const tensor::ModelFile> file,
                                             ModelSpec spec,
                                             kernels::Ops& ops,
                                             const LoadOptions& options);

  const ModelSpec& spec() const override { return spec_; }

  std::vector<cache::KvLayerShape> kv_shapes() const override { return kv_shapes_of(spec_); }

  std::int64_t weight_bytes() const override { return panels_.memory.bytes(); }

  void settle() override {
    if (panels_.mover.joinable()) {
      panels_.mover.join();
    }
  }

  std::int64_t weight_bytes_per_token() const override { return costs_.stored_bytes_per_token; }

  std::int64_t macs_per_token() const override { return costs_.macs_per_token; }

  kernels::ShortlistCounts shortlist_counts() const override { return shortlist_.counts(); }

  StepResult forward(const StepPlan& plan, cache::KvCache& cache) override;
  void copy_positions(const PositionCopy& copy, cache::KvCache& cache) override;

 private:
  Transformer(std::shared_ptr<const tensor::ModelFile> file,
              ModelSpec spec,
              Weights weights,
              Panels panels,
              kernels::Ops& ops);

  void embed();
  void release_embedding();
  void find_angles();
  void run_layer(std::int64_t index, cache::KvCache& cache);
  void project_heads(std::int64_t index, cache::KvCache& cache);
  void finish_heads(std::int64_t index, std::int64_t row, cache::KvCache& cache);
  void attend(std::int64_t index, cache::KvCache& cache);
  void feed_forward(const LayerWeights& layer);
  void activate_rows(const LayerWeights& layer);
  void activate_tiles(const LayerWeights& layer);
  void activate(const LayerWeights& layer,
                std::int64_t begin,
                std::int64_t count,
                float* first,
                float* up,
                float* out) const;
  void keep_wanted_rows();

  // What a block reads of the residual stream, in normed_.
  struct Input {
    const Norm* norm;
    Reader reader;
  };

  // What is done with what a block has left in block_.
  struct Output {
    const Norm* post_norm;
    const std::vector<float>* bias;
  };

  Input attention_input(std::int64_t index) const;
  Input ffn_input(const LayerWeights& layer) const;
  void enter_block(const Output* output, const Input& input);
  void add_output(const Output& output, std::int64_t row);
  void normalize(const Norm& norm, const float* x, float* out) const;
  StepResult results();
  void emit_logits();
  bool find_largest_logits();
  void quantize_twice();
  void emit_embedding(const FlatPlan::Part& part, float* out);

  std::shared_ptr<const tensor::ModelFile> file_;
  ModelSpec spec_;
  Weights weights_;
  Panels panels_;
  kernels::Ops& ops_;
  WeightCosts costs_;
  ExpertMixture experts_;
  std::vector<std::vector<double>> frequencies_;  // of each rope
  std::vector<std::vector<float>> common_keys_;   // of each layer, negative (common_key.h)

  FlatPlan flat_;
  std::int64_t rows_ = 0;  // of x_: all tokens, after the last attention the wanted ones only
  std::int64_t embedding_rows_read_ = 0;  // since its pages were last released
  RowBuffer x_;                           // [T, C] the residual stream
  RowBuffer qkv_;                         // [T, (H + K) * D + K * Dv]
  RowBuffer block_;                       // [T, C] what attention or the feed-forward network adds
  RowBuffer gate_up_;                     // [T, 2 F] of few tokens
  RowBuffer angles_;                      // [tables * T, rope_dims]: cosines, then sines
  RowBuffer logits_;                      // [wanted, V], and as many rows of scratch
  RowBuffer pooled_;                      // [segments, C]
  kernels::ActivationBuffer normed_;      // [T, C]
  kernels::ActivationBuffer attended_;    // [T, H * Dv]
  kernels::ActivationBuffer hidden_;      // [T, F]
  kernels::ActivationBuffer head_input_;  // [2 wanted, C] rows, then what their codes left over
  kernels::Shortlist shortlist_;
  std::vector<kernels::KvBlock> kv_blocks_;
  std::vector<kernels::AttentionSegment> segments_;
  std::vector<std::span<float>> result_rows_;
};

}  // namespace edgewise::model
