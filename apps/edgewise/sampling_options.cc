#include "sampling_options.h"

#include <random>

#include "input.h"

namespace edgewise::app {
namespace {

// For models that recommend nothing: what llama.cpp's command line uses (b6000 and before), so that
// the same model behaves alike in both.
constexpr double kTemperature = 0.8;
constexpr std::int64_t kTopK = 40;
constexpr double kTopP = 0.95;
constexpr double kMinP = 0.05;

Result<double> pick(const std::optional<double>& given,
                    const tensor::Metadata& metadata,
                    std::string_view key,
                    double otherwise) {
  return given ? *given : TRY(metadata.number(key)).value_or(otherwise);
}

Result<std::optional<sampling::GrammarSpec>> read_grammar(const SamplingOptions& options) {
  if (!options.json_schema_file.empty() && !options.grammar_file.empty()) {
    return fail(ErrorCode::kInvalidArgument, "give --json-schema or --grammar, not both");
  }
  if (!options.json_schema_file.empty()) {
    return sampling::GrammarSpec{sampling::GrammarSpec::Kind::kJsonSchema,
                                 TRY(read_text(options.json_schema_file))};
  }
  if (!options.grammar_file.empty()) {
    const bool is_lark = options.grammar_file.ends_with(".lark");
    return sampling::GrammarSpec{
        is_lark ? sampling::GrammarSpec::Kind::kLark : sampling::GrammarSpec::Kind::kGbnf,
        TRY(read_text(options.grammar_file))};
  }
  return std::nullopt;
}

}  // namespace

void SamplingOptions::declare(Command& command) {
  command.option("--temperature", temperature, "0 is greedy (default: the model's own, else 0.8)");
  command.option("--top-k", top_k,
                 "Only the K likeliest tokens, 0: all (default: the model's own, else 40)");
  command.option("--top-p", top_p,
                 "Only the likeliest tokens that together have this probability (else 0.95)");
  command.option("--min-p", min_p,
                 "Only tokens at least this likely, relative to the likeliest (else 0.05)");
  command.option("--repetition-penalty", repetition_penalty,
                 "Above 1, makes repetition less likely (else 1)");
  command.option("--seed", seed, "Same seed, same answer (default: another each time)");
  command.option("--json-schema", json_schema_file,
                 "The answer matches the JSON schema in this file");
  command.option("--grammar", grammar_file,
                 "The answer matches the grammar in this file (.lark: Lark, else GBNF)");
}

Result<sampling::SamplingParams> resolve_sampling(const SamplingOptions& options,
                                                  const tensor::Metadata& metadata) {
  sampling::SamplingParams params;
  params.temperature = static_cast<float>(
      TRY(pick(options.temperature, metadata, "general.sampling.temp", kTemperature)));
  params.top_p =
      static_cast<float>(TRY(pick(options.top_p, metadata, "general.sampling.top_p", kTopP)));
  params.min_p =
      static_cast<float>(TRY(pick(options.min_p, metadata, "general.sampling.min_p", kMinP)));
  params.repetition_penalty = static_cast<float>(
      TRY(pick(options.repetition_penalty, metadata, "general.sampling.penalty_repeat", 1.0)));
  const std::int64_t top_k = options.top_k
                                 ? *options.top_k
                                 : TRY(metadata.integer("general.sampling.top_k")).value_or(kTopK);
  TRY_VOID(check_range("--top-k", top_k, 0, 10'000'000));
  params.top_k = static_cast<int>(top_k);
  params.seed = options.seed ? *options.seed : std::random_device{}();
  params.grammar = TRY(read_grammar(options));
  TRY_VOID(sampling::validate(params));
  return params;
}

}  // namespace edgewise::app
