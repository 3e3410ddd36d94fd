// How the next token is chosen. Parsed once at the edge of the program, passed by const reference.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "base/ids.h"
#include "base/result.h"

namespace edgewise::sampling {

// What the text must match. `kJsonSchema`, `kJsonObject` (any JSON object), `kRegex`, `kLark`,
// `kGbnf`.
struct GrammarSpec {
  enum class Kind { kJsonSchema, kJsonObject, kRegex, kLark, kGbnf };
  Kind kind = Kind::kJsonSchema;
  std::string text;  // the schema, pattern or grammar itself; unused for kJsonObject
};

struct SamplingParams {
  float temperature = 1.0F;         // 0: greedy
  int top_k = 0;                    // 0: off
  float top_p = 1.0F;               // 1: off
  float min_p = 0.0F;               // 0: off
  float typical_p = 1.0F;           // 1: off
  float repetition_penalty = 1.0F;  // over prompt and answer; 1: off
  int repetition_window = -1;       // tokens looked back on; -1: all
  float presence_penalty = 0.0F;    // over the answer only, as OpenAI defines it
  float frequency_penalty = 0.0F;
  std::map<TokenId, float> logit_bias;
  std::uint64_t seed = 0;
  int top_logprobs = -1;  // -1: none; 0..20: the chosen token and this many alternatives
  std::optional<GrammarSpec> grammar;
};

// Ranges as documented to users; the error names the field.
Result<void> validate(const SamplingParams& params);

}  // namespace edgewise::sampling
