#include "api/sampling_fields.h"

#include <algorithm>
#include <charconv>
#include <random>

#include "api/json_writer.h"
#include "base/hash.h"

namespace edgewise::api {
namespace {

void parse_logit_bias(Fields& fields, const ModelCard& card, sampling::SamplingParams& sampling) {
  const JsonValue* biases = fields.object("logit_bias");
  if (!biases) {
    return;
  }
  for (const JsonValue::Member& member : *biases->as_object()) {
    const std::string path = fields.path("logit_bias") + "." + member.name.substr(0, 30);
    TokenId token = -1;
    const char* end = member.name.data() + member.name.size();
    const auto [stopped, ec] = std::from_chars(member.name.data(), end, token);
    if (ec != std::errc() || stopped != end || token < 0 || token >= card.vocab) {
      fields.problem().report(
          path, fmt::format("{}: not a token id of this model (0 to {}).", path, card.vocab - 1));
    } else if (!member.value.is_number() || std::abs(member.value.number()) > 100) {
      fields.problem().report(path,
                              fmt::format("{}: a bias must be a number from -100 to 100.", path));
    } else {
      sampling.logit_bias[token] = static_cast<float>(member.value.number());
    }
  }
}

void parse_stop(Fields& fields, std::vector<std::string>& stop) {
  const JsonValue* value = fields.get("stop");
  if (!value) {
    return;
  }
  JsonValue::Array one;
  if (value->as_string()) {
    one.push_back(*value);
  }
  const JsonValue::Array* strings = value->as_array() ? value->as_array() : &one;
  if (!value->as_array() && one.empty()) {
    fields.problem().report("stop", "stop: expected a string or an array of strings.",
                            "invalid_type");
  } else if (strings->size() > chat::kMostStopStrings) {
    fields.problem().report("stop",
                            fmt::format("stop: at most {} strings.", chat::kMostStopStrings));
  }
  for (const JsonValue& element : *strings) {
    const std::string* text = element.as_string();
    if (!text || text->empty() || text->size() > kMaxStopBytes) {
      fields.problem().report(
          "stop", fmt::format("stop: each must be a string of 1 to {} bytes.", kMaxStopBytes));
      return;
    }
    stop.push_back(*text);
  }
}

void parse_stream(Fields& fields, GenerationFields& result) {
  result.stream = fields.boolean("stream").value_or(false);
  const JsonValue* value = fields.object("stream_options");
  if (!value) {
    return;
  }
  if (!result.stream) {
    fields.problem().report("stream_options", "stream_options: only allowed with stream: true.");
    return;
  }
  Fields options(*value, "stream_options", fields.problem());
  result.stream_usage = options.boolean("include_usage").value_or(false);
  if (options.boolean("include_obfuscation").value_or(false)) {
    fields.problem().report(
        "stream_options.include_obfuscation",
        "stream_options.include_obfuscation: not supported; leave it out or send false.",
        "unsupported_parameter");
  }
  options.finish();
}

// A regular expression that matches exactly one of the texts.
std::string alternation(const JsonValue::Array& choices) {
  std::string pattern;
  for (const JsonValue& choice : choices) {
    pattern += pattern.empty() ? "(" : "|";
    for (const char c : *choice.as_string()) {
      if (std::string_view("\\.+*?()|[]{}^$#&-~/").find(c) != std::string_view::npos) {
        pattern += '\\';
      }
      pattern += c;
    }
  }
  return pattern + ")";
}

std::optional<sampling::GrammarSpec> parse_choice(Fields& fields) {
  const JsonValue::Array* choices = fields.array("guided_choice");
  if (!choices) {
    return std::nullopt;
  }
  const bool are_texts = std::ranges::all_of(*choices, [](const JsonValue& choice) {
    return choice.as_string() && !choice.as_string()->empty();
  });
  if (choices->empty() || !are_texts) {
    fields.problem().report("guided_choice",
                            "guided_choice: expected an array of one or more non-empty strings.");
    return std::nullopt;
  }
  return sampling::GrammarSpec{sampling::GrammarSpec::Kind::kRegex, alternation(*choices)};
}

}  // namespace

std::optional<sampling::GrammarSpec> parse_guides(Fields& fields) {
  using Kind = sampling::GrammarSpec::Kind;
  std::optional<sampling::GrammarSpec> found = parse_choice(fields);
  int count = found ? 1 : 0;
  const auto take = [&](Kind kind, std::string text) {
    ++count;
    found = sampling::GrammarSpec{kind, std::move(text)};
  };
  if (const std::string* grammar = fields.string("grammar")) {
    take(Kind::kGbnf, *grammar);
  }
  if (const std::string* grammar = fields.string("guided_grammar")) {
    take(Kind::kLark, *grammar);
  }
  if (const std::string* pattern = fields.string("guided_regex")) {
    take(Kind::kRegex, *pattern);
  }
  if (const JsonValue* schema = fields.get("guided_json")) {
    take(Kind::kJsonSchema, schema->as_string() ? *schema->as_string() : to_json(*schema));
  }
  if (count > 1) {
    fields.problem().report(
        "guided_json",
        "Only one of grammar, guided_json, guided_regex, guided_choice and guided_grammar "
        "can be given.");
  }
  return found;
}

void parse_service_fields(Fields& fields) {
  fields.string("user");
  fields.string("safety_identifier");
  fields.string("prompt_cache_key");  // prefixes are found without it
  fields.object("metadata");
  fields.accept_only("prompt_cache_retention", {"in_memory"},
                     "prefixes are kept in memory as long as there is room");
  fields.refuse("prompt_cache_options", "the prefix cache works by itself");
  fields.accept_only("service_tier", {"auto", "default"}, "there is one class of service");
  fields.refuse("moderation", "this server does not moderate");
  if (fields.boolean("store").value_or(false)) {
    fields.problem().report("store",
                            "store: this server stores nothing; leave it out or send false.",
                            "unsupported_parameter");
  }
}

GenerationFields parse_generation_fields(Fields& fields, const ModelCard& card) {
  GenerationFields result;
  if (const std::string* model = fields.required_string("model")) {
    result.model = *model;
  }
  sampling::SamplingParams& sampling = result.options.sampling;
  const auto real = [&](std::string_view name, double lowest, double highest, float& into) {
    into = static_cast<float>(fields.number(name, lowest, highest).value_or(into));
  };
  real("temperature", 0, 2, sampling.temperature);
  real("top_p", 0, 1, sampling.top_p);
  real("min_p", 0, 1, sampling.min_p);
  real("typical_p", 0, 1, sampling.typical_p);
  real("presence_penalty", -2, 2, sampling.presence_penalty);
  real("frequency_penalty", -2, 2, sampling.frequency_penalty);
  real("repetition_penalty", 0.01, 10, sampling.repetition_penalty);
  sampling.top_k =
      static_cast<int>(std::max<std::int64_t>(0, fields.integer("top_k", -1, 1 << 20).value_or(0)));
  sampling.repetition_window =
      static_cast<int>(fields.integer("repetition_window", -1, 1 << 30).value_or(-1));
  parse_logit_bias(fields, card, sampling);
  constexpr auto kAny = std::numeric_limits<std::int64_t>::max();
  if (const auto seed = fields.integer("seed", -kAny - 1, kAny)) {
    sampling.seed = static_cast<std::uint64_t>(*seed);
  } else {
    std::random_device random;
    sampling.seed = (std::uint64_t{random()} << 32) | random();
  }
  parse_stop(fields, result.options.stop);
  result.service = parse_service_level(fields);
  result.choices = static_cast<int>(fields.integer("n", 1, kMaxChoices).value_or(1));
  parse_stream(fields, result);
  parse_service_fields(fields);
  return result;
}

std::uint64_t seed_of_choice(std::uint64_t seed, int choice) {
  return choice == 0 ? seed : split_mix(seed + static_cast<std::uint64_t>(choice) * kSplitMixStep);
}

}  // namespace edgewise::api
