// Any bytes as the body of each kind of request: a typed request within its limits, or an error in
// OpenAI's form.
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "api/chat_request.h"
#include "api/completion_request.h"
#include "api/embedding_request.h"
#include "api/json_writer.h"
#include "base/check.h"

namespace {

using namespace edgewise::api;

void check_error(const ApiError& error) {
  CHECK(error.status == 400 || error.status == 404);
  const auto parsed = parse_json_object(error_json(error));
  CHECK(parsed && parsed->find("error") && parsed->find("error")->find("message"));
}

void check_generation(const GenerationFields& fields) {
  CHECK(fields.choices >= 1 && fields.choices <= kMaxChoices);
  CHECK(fields.options.stop.size() <= edgewise::chat::kMostStopStrings);
  CHECK(fields.options.sampling.top_logprobs <= 20);
  CHECK(fields.options.sampling.temperature >= 0 && fields.options.sampling.temperature <= 2);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view body(reinterpret_cast<const char*>(data), size);
  ModelCard card;
  card.id = "m";
  card.vocab = 1000;
  card.embeds = true;
  card.embedding_width = 384;
  card.template_uses_thinking = true;

  if (const auto value = parse_json(body)) {
    const auto again = parse_json(to_json(*value));
    CHECK(again && to_json(*again) == to_json(*value));
  }
  const auto request = parse_body(body);
  if (!request) {
    check_error(request.error());
    return 0;
  }
  if (const auto chat = parse_chat_request(*request, card)) {
    check_generation(chat->generation);
    CHECK(parse_json(chat->input.messages_json));
    CHECK(chat->input.tools_json.empty() || parse_json(chat->input.tools_json));
    CHECK(chat->input.template_kwargs_json.empty() ||
          parse_json_object(chat->input.template_kwargs_json));
  } else {
    check_error(chat.error());
  }
  if (const auto completion = parse_completion_request(*request, card)) {
    check_generation(completion->generation);
    CHECK(completion->prompts.size() <= kMaxPrompts);
  } else {
    check_error(completion.error());
  }
  if (const auto embedding = parse_embedding_request(*request, card)) {
    CHECK(!embedding->inputs.empty() && embedding->inputs.size() <= kMaxEmbeddingInputs);
  } else {
    check_error(embedding.error());
  }
  return 0;
}
