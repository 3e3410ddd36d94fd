// The table behind tokenizer.ggml.pre: name -> stages and traits.
#pragma once

#include <span>
#include <string_view>

#include "text/pre_tokenizer.h"
#include "text/word_scanner.h"

namespace edgewise::text {

// A pattern in PCRE2's syntax, or a scanner, or both (then they are equal). `\s` is the White_Space
// property.
struct SplitStage {
  std::string_view pattern;
  WordScanner scanner = WordScanner::kNone;
};

struct SplitRule {
  std::string_view names;  // separated by spaces
  std::span<const SplitStage> stages;
  PreTokenizer::Traits traits;
  std::span<const SplitStage> reference_stages = {};  // when one scanner replaces several patterns

  std::span<const SplitStage> reference() const {
    return reference_stages.empty() ? stages : reference_stages;
  }
};

std::span<const SplitRule> all_split_rules();

// What occurs in many patterns: `name` stands for `pattern`.
struct PatternPart {
  std::string_view name;
  std::string_view pattern;
};

std::span<const PatternPart> all_pattern_parts();

}  // namespace edgewise::text
