// The fields that chat and text completions share: how to sample, when to stop, how to reply.
#pragma once

#include <optional>
#include <string>

#include "api/fields.h"
#include "api/model_card.h"
#include "api/service_level.h"
#include "chat/generation.h"

namespace edgewise::api {

constexpr int kMaxChoices = 16;
constexpr std::size_t kMaxStopBytes = 1000;

struct GenerationFields {
  std::string model;  // who it names was found by served_models.h
  chat::GenerationOptions options;
  int choices = 1;
  bool stream = false;
  bool stream_usage = false;
  std::int64_t moved_parts = 0;  // of the prompt; chat_messages.h
  ServiceLevel service;
};

// Everything but the maximum length and log-probabilities, whose names and defaults differ between
// the routes. What the service level says is not in the options yet: headers and the key have a say.
GenerationFields parse_generation_fields(Fields& fields, const ModelCard& card);

// Fields of OpenAI's clients that change nothing in a server that stores nothing and has one class
// of service: accepted when they ask for nothing else.
void parse_service_fields(Fields& fields);

// At most one of grammar (GBNF), guided_json, guided_regex, guided_choice, guided_grammar (Lark).
std::optional<sampling::GrammarSpec> parse_guides(Fields& fields);

// The seed of the i-th choice: the request's own for the first.
std::uint64_t seed_of_choice(std::uint64_t seed, int choice);

}  // namespace edgewise::api
