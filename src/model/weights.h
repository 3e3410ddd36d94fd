// A model's tensors by their role: found in the file, checked against the spec, norms and biases as floats, matrices
// as stored and (for the kernels) packed. find_weights() reads nothing but names and shapes and small vectors;
// prepare_panels() brings every matrix into the kernels' layout.
//
// Packed memory is one mapping, anonymous or of a file that an earlier start has written; the model file's pages are
// dropped as they are packed, so that a model is never resident twice. The embedding table stays in the file: a step reads only its tokens' rows.
#pragma once

#include <cstddef>
#include <initializer_list>
#include <memory>
#include <span>
#include <string>
#include <thread>
#include <vector>

#include "base/result.h"
#include "kernels/ops.h"
#include "kernels/packed.h"
#include "model/model.h"
#include "model/model_spec.h"
#include "model/packed_file.h"
#include "tensor/model_file.h"

namespace edgewise::model {

// A matrix [rows, cols] as stored: a whole tensor, some of its rows (fused projections) or one expert of it.
struct Matrix {
  tensor::DType type = tensor::DType::kF32;
  std::int64_t rows = 0;
  std::int64_t cols = 0;
  std::span<const std::byte> stored;  // empty: the model has no such matrix
  kernels::PackedMatrix packed;       // empty until packed
  bool in_planes = false;             // to be packed as kernels/planes.h says, for a shortlist

  bool is_present() const { return !stored.empty(); }

  void read_row(std::int64_t row, std::span<float> out) const;  // dequantized; out: [cols]
};

// Which form of its activations products read: int8 codes (block formats), the values (F32, F16, BF16).
struct Reader {
  bool codes = false;
  bool values = false;
};

Reader reader_of(std::initializer_list<const Matrix*> matrices);  // absent ones read nothing

struct Linear {
  Matrix matrix;
  std::vector<float> bias;  // [rows], or empty
};

struct Norm {
  std::vector<float> weight;  // empty: no such norm
  std::vector<float> bias;    // empty: none

  bool is_present() const { return !weight.empty(); }
};

struct Expert {
  Matrix gate, up, down;
};

struct LayerWeights {
  Norm attention_norm, attention_post_norm, ffn_norm,
      ffn_post_norm;  // post: after the block or, in bert, after its residual add
  Norm q_norm, k_norm;
  Linear q, k, v, o;
  Linear gate, up, down;
  Matrix router;  // [E, C]
  std::vector<Expert> experts;
};

struct Weights {
  Matrix embedding;               // [V, C]
  Matrix positions;               // [context, C] (bert)
  std::vector<float> token_type;  // [C] (bert)
  Norm embedding_norm;
  std::vector<LayerWeights> layers;
  Norm output_norm;
  Linear output;  // [V, C]; shares the embedding's bytes when tied

  std::vector<Matrix*> matrices();  // those that a step multiplies with
  std::vector<const Matrix*> matrices() const;
};

// Errors name the tensor: missing, of another shape than the spec says, or unknown to the architecture.
Result<Weights> find_weights(const tensor::ModelFile& file, const ModelSpec& spec);

// The panels of all matrices, and who writes them to disk while the model is already answering.
struct Panels {
  PackedMemory memory;
  std::unique_ptr<PackedFileWriter>
      writer;          // nullptr: nothing to write; reads `memory`, so it goes first
  std::jthread mover;  // of mapped panels into huge pages; likewise
};

// Maps the packed form that an earlier start left in options.packed_folder, else packs on the pool.
// Points each matrix's `packed` at its panels.
Result<Panels> prepare_panels(Weights& weights,
                              const tensor::ModelFile& file,
                              platform::WorkerPool& pool,
                              const LoadOptions& options);

struct WeightCosts {
  std::int64_t stored_bytes_per_token = 0;  // of one decode step
  std::int64_t macs_per_token = 0;
};

WeightCosts count_costs(const Weights& weights, const ModelSpec& spec);

}  // namespace edgewise::model
