// The cost model of the OT-GAH paper (IEEE TWC 2025, doi 10.1109/TWC.2024.3497923): floating-point operations
// over speed. A batch is uploaded, computed as one and downloaded; all its answers come at the same time.
//
//   t(s, n) = L (8 s d^2 + 4 s^2 d + 4 s d f + (n - 1)(8 d^2 + 4 (s + n/2) d + 4 d f)) / C
//   finish  = start + upload + sum over the batch of beta t(s, n) + download
#pragma once

#include <cstdint>
#include <vector>

#include "schedule/cost_model.h"

namespace edgewise::schedule {

// Of a decoder-only transformer, as the paper counts it: no embeddings, no grouped heads.
struct ModelShape {
  std::int64_t layers = 0;
  std::int64_t width = 0;
  std::int64_t feed_forward = 0;
};

double flops(const ModelShape& shape, std::int64_t prompt_tokens, std::int64_t output_tokens);
double fp16_weight_bytes(const ModelShape& shape);
double fp16_kv_bytes(const ModelShape& shape, std::int64_t tokens);

struct FlopCostOptions {
  ModelShape shape;
  double flops_per_s = 0.0;
  std::vector<double> time_factors = {1.0};  // beta of each variant
  std::int64_t padded_prompt = 0;  // every prompt is computed at this length; 0: at its own
  double upload_s = 0.0;           // length of the uplink phase
  double download_s = 0.0;
  double compute_s = kNever;  // length of the computing phase
  double start_s = 0.0;       // the node is busy until then
};

class FlopCost final : public CostModel {
 public:
  explicit FlopCost(FlopCostOptions options) : options_(std::move(options)) {}

  // Seconds of computing that a candidate adds to its batch.
  double seconds(const Candidate& candidate) const;

  void finish_times(std::span<const Candidate> set, FinishTimes& times) const override;
  double slack(const Candidate& candidate) const override;
  TimeRow time_needs(const Candidate& pivot, const Candidate& member) const override;
  TimeRow time_capacity(const Candidate& pivot) const override;

  double least_need(const Candidate& member) const override { return seconds(member); }

  bool no_slower(const Candidate& a, const Candidate& b) const override {
    return seconds(a) <= seconds(b);
  }

 private:
  FlopCostOptions options_;
};

}  // namespace edgewise::schedule
