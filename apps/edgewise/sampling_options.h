// --temperature and its relatives: what the user gave, else what the model's file recommends
// (general.sampling.*), else the defaults below.
#pragma once

#include <optional>
#include <string>

#include "base/result.h"
#include "command_line.h"
#include "sampling/sampling_params.h"
#include "tensor/model_file.h"

namespace edgewise::app {

struct SamplingOptions {
  std::optional<double> temperature, top_p, min_p, repetition_penalty;
  std::optional<std::int64_t> top_k;
  std::optional<std::uint64_t> seed;
  std::string json_schema_file;
  std::string grammar_file;

  void declare(Command& command);
};

// Without --seed, one is drawn.
Result<sampling::SamplingParams> resolve_sampling(const SamplingOptions& options,
                                                  const tensor::Metadata& metadata);

}  // namespace edgewise::app
