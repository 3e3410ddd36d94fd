// Any bytes as the body of an API request: a typed request or an error in OpenAI's form.
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "api/chat_request.h"
#include "api/completion_request.h"
#include "api/embedding_request.h"
#include "api/errors.h"
#include "api/json.h"
#include "api/model_card.h"
#include "base/check.h"

namespace api = edgewise::api;

namespace {

template <typename Parsed>
void check(const Parsed& parsed) {
  if (!parsed) {
    CHECK(parsed.error().status >= 400 && parsed.error().status < 600);
    CHECK(!parsed.error().message.empty());
    CHECK(api::parse_json(api::error_json(parsed.error())).has_value());
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const api::ModelCard generator{
      .id = "m", .context = 4096, .vocab = 1000, .generates = true, .has_chat_template = true};
  static const api::ModelCard embedder{.id = "m",
                                       .context = 512,
                                       .vocab = 1000,
                                       .embedding_width = 384,
                                       .generates = false,
                                       .embeds = true};
  const std::string_view body(reinterpret_cast<const char*>(data), size);
  check(api::parse_chat_request(body, generator));
  check(api::parse_completion_request(body, generator));
  check(api::parse_embedding_request(body, embedder));
  return 0;
}
