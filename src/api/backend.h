// What the routes ask of a model: the seam between HTTP and generation, so that the interface is
// tested without a model. chat::Generator is behind it in the program (generator_backend.h). Any
// thread; sinks come from the engine's.
#pragma once

#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "api/model_card.h"
#include "chat/generation.h"

namespace edgewise::api {

class Backend {
 public:
  using EmbeddingDone = std::function<void(Result<std::vector<float>>, engine::Usage)>;

  virtual ~Backend() = default;

  virtual const ModelCard& card() const = 0;
  virtual Result<RequestId> start_chat(const chat::ChatInput& input,
                                       chat::GenerationOptions options,
                                       chat::Sink sink) = 0;
  virtual Result<RequestId> start_completion(std::vector<TokenId> prompt,
                                             chat::GenerationOptions options,
                                             chat::Sink sink) = 0;
  virtual Result<RequestId> start_embedding(std::vector<TokenId> tokens, EmbeddingDone done) = 0;
  virtual void cancel(RequestId id) = 0;
  // Fails when the text is far longer than the context.
  virtual Result<std::vector<TokenId>> encode(std::string_view text) const = 0;
  virtual std::string decode(std::span<const TokenId> tokens) const = 0;
  virtual engine::EngineStats stats() const = 0;

  // Of members of a group only.
  virtual admission::Forecast forecast(const admission::Prospect& prospect) const = 0;
  // How its engine stands (engine::Engine::load).
  virtual std::optional<admission::Load> load() const = 0;
  // Tokens of a chat's prompt.
  virtual Result<std::vector<TokenId>> chat_prompt(
      const chat::ChatInput& input, const chat::GenerationOptions& options) const = 0;
};

}  // namespace edgewise::api
