// Where a step's time goes: for each phase of the forward pass the loops that it ran, their length, and how much of
// that the workers spent in their bodies. What is left of (length x workers) is the cost of the barriers: waking the
// workers, waiting for the slowest, and loops too small to share. Filled by Ops while one is attached to it; the clock
// is read twice a piece of work then (some 50 ns), so small loops look a little slower than they are. One thread.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>

namespace edgewise::kernels {

enum class Phase : std::uint8_t {
  kEmbedding,
  kBetween,   // blocks: a result added to the residual stream, its norm, codes
  kQuantize,  // elsewhere
  kHeads,     // biases, norms and rotation of queries and keys, and the cache's new entries
  kQkv,       // products
  kAttention,
  kAttentionOut,  // product
  kGateUp,        // products; of many tokens with their activation and codes (Ops::matmul_in_tiles)
  kActivation,    // and codes, of few tokens
  kDown,          // product
  kExpertChoice,  // of a mixture: the router, and rows of several tokens brought together
  kExpertGateUp,  // products
  kExpertActivation,  // and codes
  kExpertDown,        // product
  kExpertSum,
  kOutputLayer,
};

inline constexpr std::array<std::string_view, 16> kPhaseNames = {"embedding",
                                                                 "residual, norm, codes",
                                                                 "other codes",
                                                                 "heads",
                                                                 "QKV product",
                                                                 "attention",
                                                                 "attention output product",
                                                                 "gate and up product",
                                                                 "activation, codes",
                                                                 "down product",
                                                                 "choice of experts",
                                                                 "experts' gate and up",
                                                                 "experts' activation",
                                                                 "experts' down product",
                                                                 "sum of experts",
                                                                 "output layer"};

struct PhaseTimes {
  std::int64_t loops = 0;
  double wall_s = 0.0;            // of the thread that runs the step
  double busy_s = 0.0;            // all workers together
  std::int64_t macs = 0;          // multiply-adds with weights
  std::int64_t weight_bytes = 0;  // packed, each read once a product
};

struct StepProfile {
  std::array<PhaseTimes, kPhaseNames.size()> phases;

  PhaseTimes& of(Phase phase) { return phases[static_cast<std::size_t>(phase)]; }
};

}  // namespace edgewise::kernels
