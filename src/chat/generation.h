// Text in, text out, over the engine: templates and tokens on the way in; whole characters, stop
// strings, reasoning and tool calls on the way out. What both the command line and the HTTP
// interface stand on. Any thread; sinks are called from the engine thread.
#pragma once

#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "base/result.h"
#include "engine/engine.h"
#include "platform/worker_pool.h"
#include "text/chat_template.h"
#include "text/tokenizer.h"

namespace edgewise::chat {

struct TokenText {  // one token of a log-probability list
  TokenId token = -1;
  std::string bytes;
  float logprob = 0.0F;
};

struct TokenLogprobs {
  TokenText chosen;
  std::vector<TokenText> alternatives;
};

struct ToolCallDelta {
  int index = 0;
  std::string id;         // set in the first delta of a call
  std::string name;       // set in the first delta of a call
  std::string arguments;  // JSON text, appended over deltas
};

// What became known with one step. Any part may be empty.
struct Delta {
  std::string content;
  std::string reasoning;
  std::vector<ToolCallDelta> tool_calls;
  std::vector<TokenLogprobs> logprobs;
};

enum class Finish { kStop, kLength, kToolCalls, kCancelled, kError };

struct Outcome {
  Finish finish = Finish::kStop;
  std::optional<std::string> stop_string;  // the one that ended the answer
  std::optional<Error> error;
  engine::Usage usage;
};

// Returning false from on_delta cancels. on_done comes exactly once, last.
struct Sink {
  std::function<bool(const Delta&)> on_delta;
  std::function<void(const Outcome&)> on_done;
};

constexpr std::size_t kMostStopStrings = 16;  // of a request

struct GenerationOptions {
  sampling::SamplingParams sampling;
  std::int64_t max_tokens = -1;
  std::int64_t min_tokens = 0;
  bool ignore_eos = false;
  std::vector<std::string> stop;  // up to 16 non-empty strings; not part of the answer
  // engine::Request's fields of the same names.
  std::string tenant;
  std::string label;
  std::optional<engine::Clock::time_point> deadline;
  std::optional<engine::Clock::time_point> first_token_deadline;
  engine::Delivery delivery;
  int priority = 0;
  double share = 1.0;
  bool approximate_reuse = false;
  bool speculate = true;
};

struct ChatInput {
  std::string messages_json;  // array of messages in OpenAI's form, already checked by the caller
  std::string tools_json;     // array, or empty
  std::string tool_choice = "auto";  // "none", "auto", "required" or a function's name
  bool parallel_tool_calls = true;
  std::string template_kwargs_json;  // object, or empty: extra template variables
  bool add_generation_prompt = true;
};

struct LoadedModelOptions {
  int threads = 0;  // 0: what affinity and cgroup allow
  bool oracle = false;
  std::string chat_template;            // overrides the model's own
  std::filesystem::path packed_folder;  // model::LoadOptions
  bool shortlist = false;               // model::LoadOptions
  std::filesystem::path draft;  // of a draft model's file (engine::Engine::create); empty: none
  std::filesystem::path draft_packed_folder;
  engine::EngineOptions engine;
  // Shared with other models whose engines have the same `engine.turn`, and idle while one is loaded;
  // null: `threads` of its own.
  std::shared_ptr<platform::WorkerPool> pool;
  std::function<void(double fraction)> on_progress;
};

// A model ready to answer: file, tokenizer, template, engine.
class Generator {
 public:
  static Result<std::unique_ptr<Generator>> load(const std::filesystem::path& path,
                                                 LoadedModelOptions options);
  ~Generator();

  // The prompt that a conversation becomes. Fails when the model has no template, or the template
  // refuses.
  Result<std::string> render_chat(const ChatInput& input) const;

  // Both return at once; the answer arrives in `sink`.
  Result<RequestId> start_chat(const ChatInput& input, GenerationOptions options, Sink sink);
  Result<RequestId> start_completion(std::vector<TokenId> prompt,
                                     GenerationOptions options,
                                     Sink sink);
  Result<RequestId> start_embedding(
      std::vector<TokenId> tokens,
      std::function<void(Result<std::vector<float>>, engine::Usage)> done);
  void cancel(RequestId id);

  // Tokens of the prompt that start_chat() would make.
  Result<std::vector<TokenId>> chat_prompt(const ChatInput& input,
                                           const GenerationOptions& options) const;

  // A prompt's tokens. Fails at once when there are far more than the context holds.
  Result<std::vector<TokenId>> encode(std::string_view text) const;

  const text::Tokenizer& tokenizer() const;
  const engine::Engine& engine() const;
  const tensor::Metadata& metadata() const;  // of the model's file
  bool has_chat_template() const;
  bool is_embedding_model() const;  // no text comes out of it
  std::string model_name() const;

 private:
  Generator();
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace edgewise::chat
