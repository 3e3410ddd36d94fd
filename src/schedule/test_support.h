// Random instances for the tests of this folder: small enough for exhaustive search, tight enough that every limit
// binds somewhere.
#pragma once

#include <memory>
#include <vector>

#include "schedule/flop_cost.h"
#include "schedule/step_cost.h"
#include "schedule/test_random.h"

namespace edgewise::schedule {

struct Instance {
  std::vector<Candidate> candidates;
  std::unique_ptr<CostModel> cost;
  Capacity capacity;
};

class InstanceMaker : public TestRandom {
 public:
  using TestRandom::TestRandom;

  // A batch on the paper's server: levels of prompt and output, independent link needs.
  Instance flop_instance(std::int64_t count) {
    const ModelShape shape{.layers = 30, .width = 2560, .feed_forward = 10240};
    FlopCostOptions options{.shape = shape, .flops_per_s = real(5e12, 30e12)};
    options.time_factors = {0.5, 1.0, 0.7};
    options.padded_prompt = coin() ? 512 : 0;
    options.upload_s = options.download_s = 0.25;
    options.compute_s = coin() ? 1.5 : kNever;
    Instance instance;
    const bool weighted = coin();
    const double link = coin() ? 0.6 : 0.2;
    const std::int64_t variants = coin(0.7) ? 1 : 3;
    std::int32_t request = 0;
    while (std::ssize(instance.candidates) < count) {
      Candidate candidate;
      candidate.request = request++;
      candidate.value = weighted ? real(0.1, 3.0) : 1.0;
      candidate.prompt_tokens = std::int64_t{128} << integer(0, 2);
      candidate.output_tokens = std::int64_t{128} << integer(0, 2);
      candidate.deadline_s = coin(0.1) ? kNever : real(0.5, 3.0);
      candidate.memory_bytes =
          fp16_kv_bytes(shape, candidate.prompt_tokens + candidate.output_tokens);
      candidate.uplink = real(0.0, link);
      candidate.downlink = real(0.0, link);
      add_variants(instance, candidate, variants, count);
    }
    instance.capacity.memory_bytes = real(0.5e9, 4e9);
    add_loads(instance, variants, 1e9);
    instance.cost = std::make_unique<FlopCost>(options);
    return instance;
  }

  // Requests that join a running batch on a measured engine.
  Instance step_instance(std::int64_t count) {
    const std::int64_t variants = coin(0.7) ? 1 : 2;
    std::vector<StepCost> costs;
    for (std::int64_t v = 0; v < variants; ++v) {
      costs.push_back({.launch_s = real(0.0, 1e-3),
                       .weights_s = real(1e-3, 20e-3),
                       .row_s = real(0.2e-3, 5e-3),
                       .position_s = real(0.0, 3e-6),
                       .prompt_token_s = real(0.1e-3, 2e-3),
                       .prompt_pair_s = real(0.0, 1e-7),
                       .chunk_tokens = integer(16, 512)});
    }
    std::vector<RunningSequence> running(static_cast<std::size_t>(integer(0, 4)));
    for (RunningSequence& sequence : running) {
      sequence.variant = static_cast<std::int32_t>(integer(0, variants - 1));
      sequence.context_tokens = integer(1, 500);
      sequence.remaining_prompt_tokens = coin() ? 0 : integer(0, sequence.context_tokens);
      sequence.remaining_output_tokens = integer(0, 100);
      sequence.deadline_s = coin() ? kNever : real(0.1, 5.0);
    }
    Instance instance;
    const bool weighted = coin();
    std::int32_t request = 0;
    while (std::ssize(instance.candidates) < count) {
      Candidate candidate;
      candidate.request = request++;
      candidate.value = weighted ? real(0.1, 3.0) : 1.0;
      candidate.prompt_tokens = integer(1, 600);
      candidate.cached_tokens = coin() ? 0 : integer(0, candidate.prompt_tokens - 1);
      candidate.output_tokens = integer(1, 120);
      candidate.deadline_s = coin(0.1) ? kNever : real(0.1, 5.0);
      candidate.first_token_s = coin(0.7) ? kNever : real(0.05, 3.0);
      candidate.memory_bytes =
          1e4 * static_cast<double>(candidate.prompt_tokens + candidate.output_tokens);
      add_variants(instance, candidate, variants, count);
    }
    instance.capacity.memory_bytes = real(1e6, 60e6);
    instance.capacity.count = integer(1, count);
    add_loads(instance, variants, 5e6);
    instance.cost = std::make_unique<StepCostModel>(costs, running);
    return instance;
  }

 private:
  // The candidate in every variant that its (random) accuracy demand admits.
  void add_variants(Instance& instance,
                    Candidate candidate,
                    std::int64_t variants,
                    std::int64_t count) {
    for (std::int32_t v = 0; v < variants; ++v) {
      if (std::ssize(instance.candidates) < count && (v == 0 || coin())) {
        candidate.variant = v;
        instance.candidates.push_back(candidate);
        candidate.memory_bytes *= real(0.5, 1.2);
      }
    }
  }

  void add_loads(Instance& instance, std::int64_t variants, double most) {
    for (std::int64_t v = 0; variants > 1 && v < variants; ++v) {
      instance.capacity.variant_bytes.push_back(coin() ? 0.0 : real(0.0, most));
    }
  }
};

}  // namespace edgewise::schedule
