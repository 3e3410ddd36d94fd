// Constrained decoding: which tokens may come next so that the text matches a grammar.
// Implementation: llguidance (Rust), behind the small C interface in rust/.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string_view>

#include "base/ids.h"
#include "base/result.h"
#include "sampling/sampling_params.h"

namespace edgewise::text {
class Tokenizer;
}

namespace edgewise::sampling {

// State of one constrained sequence. One thread at a time.
class GrammarMatcher {
 public:
  virtual ~GrammarMatcher() = default;

  // Sets the logits of tokens that may not come next to -infinity. False: no token may come.
  virtual Result<bool> mask(std::span<float> logits) = 0;
  virtual Result<void> accept(TokenId token) = 0;
  virtual bool is_complete() const = 0;  // only end-of-generation may come
};

// Per model: knows the vocabulary. Any thread.
class GrammarFactory {
 public:
  static Result<std::shared_ptr<const GrammarFactory>> create(const text::Tokenizer& tokenizer);
  virtual ~GrammarFactory() = default;

  // Blocks while it compiles, at most 5 s. A grammar that does not compile or takes longer:
  // kInvalidArgument with the reason. kUnavailable: others are compiled, or the machine was too busy.
  // `owner`: who asks, so that none holds all places; empty: not told from others.
  virtual Result<std::unique_ptr<GrammarMatcher>> create_matcher(const GrammarSpec& spec,
                                                                 std::string_view owner) const = 0;
};

}  // namespace edgewise::sampling
