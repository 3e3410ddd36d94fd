// Reads an architecture's metadata keys ("<architecture>.attention.head_count" by its part after the first dot)
// and fills what all architectures have in common. Errors name the key.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/result.h"
#include "model/model_spec.h"
#include "tensor/model_file.h"

namespace edgewise::model {

class SpecReader {
 public:
  // `context`: positions a sequence may take, 0: as trained; longrope models have other factors for long contexts.
  SpecReader(const tensor::ModelFile& file, std::string architecture, std::int64_t context)
      : file_(file), architecture_(std::move(architecture)), context_(context) {}

  Result<std::int64_t> integer(std::string_view key) const;  // required
  Result<std::int64_t> integer_or(std::string_view key, std::int64_t fallback) const;
  Result<double> number(std::string_view key) const;  // required
  Result<double> number_or(std::string_view key, double fallback) const;
  Result<bool> boolean_or(std::string_view key, bool fallback) const;

  // Sizes, heads, RMS norm epsilon, rope (one table) and attention scale, as llama has them. What differs is changed after.
  Result<ModelSpec> common() const;

  // Gives the layers that `<architecture>.attention.sliding_window_pattern` names (a period, whose last layer is full,
  // or a flag per layer) the window and the rope table; `period` where the key is absent.
  Result<void> set_windows(ModelSpec& spec,
                           std::int64_t window,
                           std::int64_t period,
                           int rope_table) const;

  // Mixture of experts with a softmax router, for files that have experts.
  Result<void> read_experts(ModelSpec& spec) const;

  // The 1-D tensor as floats; empty: absent.
  Result<std::vector<float>> rope_factors(std::string_view tensor, std::int64_t count) const;

  const tensor::ModelFile& file() const { return file_; }

 private:
  std::string full(std::string_view key) const { return fmt::format("{}.{}", architecture_, key); }

  Result<void> read_layers(ModelSpec& spec) const;
  Result<void> read_rope(ModelSpec& spec) const;
  Result<void> read_rope_scaling(RopeSpec& rope,
                                 std::int64_t trained_context,
                                 std::int64_t rope_dims) const;
  Result<void> read_pooling(ModelSpec& spec) const;
  // A key that holds one integer, or one per layer.
  Result<std::vector<std::int64_t>> per_layer(std::string_view key,
                                              std::int64_t layers,
                                              std::int64_t fallback) const;

  const tensor::ModelFile& file_;
  std::string architecture_;
  std::int64_t context_;
};

}  // namespace edgewise::model
