#include "api/generator_backend.h"

#include <fmt/format.h>

#include <chrono>

#include "base/hash.h"

namespace edgewise::api {
namespace {

// Whether a template variable changes the prompt: asked of the template itself, with two values.
bool uses_variable(const chat::Generator& generator,
                   std::string_view name,
                   std::string_view one,
                   std::string_view other) {
  const auto render = [&](std::string_view value) {
    chat::ChatInput input;
    input.messages_json = R"([{"role":"user","content":"hello"}])";
    input.tool_choice = "none";
    input.template_kwargs_json = fmt::format("{{\"{}\":{}}}", name, value);
    return generator.render_chat(input);
  };
  const auto first = render(one);
  const auto second = render(other);
  return first && second && *first != *second;
}

ModelCard make_card(const chat::Generator& generator,
                    const std::string& alias,
                    const std::filesystem::path& path) {
  const model::ModelSpec& spec = generator.engine().spec();
  ModelCard card;
  const std::string own_name = generator.model_name();
  card.id = !alias.empty() ? alias : !own_name.empty() ? own_name : path.stem().string();
  card.other_ids = {own_name, path.filename().string(), path.stem().string()};
  std::erase(card.other_ids, "");
  card.created = std::chrono::duration_cast<std::chrono::seconds>(
                     std::chrono::system_clock::now().time_since_epoch())
                     .count();
  std::error_code ignored;
  const auto file_bytes = std::filesystem::file_size(path, ignored);
  card.fingerprint = fmt::format(
      "fp_{:012x}", fnv1a(fmt::format("{} {} {}", own_name, file_bytes, EDGEWISE_VERSION)) >> 16);
  card.context = generator.engine().context();
  card.vocab = spec.vocab;
  card.embedding_width = spec.width;
  card.embeds = generator.is_embedding_model();
  card.generates = !card.embeds;
  card.has_chat_template = generator.has_chat_template();
  if (card.generates && card.has_chat_template) {
    card.template_uses_effort = uses_variable(generator, "reasoning_effort", "\"low\"", "\"high\"");
    card.template_uses_thinking = uses_variable(generator, "enable_thinking", "true", "false");
  }
  return card;
}

class GeneratorBackend final : public Backend {
 public:
  GeneratorBackend(chat::Generator& generator, ModelCard card)
      : generator_(generator), card_(std::move(card)) {}

  const ModelCard& card() const override { return card_; }

  Result<RequestId> start_chat(const chat::ChatInput& input,
                               chat::GenerationOptions options,
                               chat::Sink sink) override {
    return generator_.start_chat(input, std::move(options), std::move(sink));
  }

  Result<RequestId> start_completion(std::vector<TokenId> prompt,
                                     chat::GenerationOptions options,
                                     chat::Sink sink) override {
    return generator_.start_completion(std::move(prompt), std::move(options), std::move(sink));
  }

  Result<RequestId> start_embedding(std::vector<TokenId> tokens, EmbeddingDone done) override {
    return generator_.start_embedding(std::move(tokens), std::move(done));
  }

  void cancel(RequestId id) override { generator_.cancel(id); }

  Result<std::vector<TokenId>> encode(std::string_view text) const override {
    return generator_.encode(text);
  }

  std::string decode(std::span<const TokenId> tokens) const override {
    return generator_.tokenizer().decode(tokens, true);
  }

  engine::EngineStats stats() const override { return generator_.engine().stats(); }

  admission::Forecast forecast(const admission::Prospect& prospect) const override {
    return generator_.engine().forecast(prospect);
  }

  std::optional<admission::Load> load() const override { return generator_.engine().load(); }

  Result<std::vector<TokenId>> chat_prompt(const chat::ChatInput& input,
                                           const chat::GenerationOptions& options) const override {
    return generator_.chat_prompt(input, options);
  }

 private:
  chat::Generator& generator_;
  const ModelCard card_;
};

}  // namespace

std::unique_ptr<Backend> make_generator_backend(chat::Generator& generator,
                                                const BackendOptions& options) {
  ModelCard card = make_card(generator, options.alias, options.model_path);
  card.accuracy = options.accuracy;
  card.group = options.group;
  return std::make_unique<GeneratorBackend>(generator, std::move(card));
}

}  // namespace edgewise::api
