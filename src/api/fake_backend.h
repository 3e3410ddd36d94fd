// A backend for tests: says what the test scripts, in threads of its own, and remembers what it was
// asked.
#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <map>
#include <mutex>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "api/backend.h"

namespace edgewise::api {

class FakeBackend : public Backend {
 public:
  FakeBackend() {
    card_.id = "toy";
    card_.other_ids = {"toy.gguf"};
    card_.created = 1'700'000'000;
    card_.fingerprint = "fp_000000000001";
    card_.context = 100;
    card_.vocab = 300;
    card_.embedding_width = 3;
    card_.has_chat_template = true;
    for (const char* word : {"Hello", ", ", "world", "!"}) {
      script_.emplace_back().content = word;
    }
  }

  ~FakeBackend() override { finish(); }

  // Ends all threads. Before the last reference goes, which may be one of theirs.
  void finish() {
    {
      const std::scoped_lock lock(mutex_);
      is_closing_ = true;
    }
    changed_.notify_all();
    for (std::thread& thread : threads_) {
      thread.join();
    }
    threads_.clear();
  }

  const ModelCard& card() const override { return card_; }

  Result<RequestId> start_chat(const chat::ChatInput& input,
                               chat::GenerationOptions options,
                               chat::Sink sink) override {
    const std::scoped_lock lock(mutex_);
    chats_.push_back(input);
    return start(std::move(options), std::move(sink), 7);
  }

  Result<RequestId> start_completion(std::vector<TokenId> prompt,
                                     chat::GenerationOptions options,
                                     chat::Sink sink) override {
    if (std::ssize(prompt) >= card_.context) {
      return fail(ErrorCode::kResourceExhausted,
                  "the prompt has {} tokens and the context holds {}", prompt.size(),
                  card_.context);
    }
    const std::scoped_lock lock(mutex_);
    prompts_.push_back(prompt);
    return start(std::move(options), std::move(sink), std::ssize(prompt));
  }

  Result<RequestId> start_embedding(std::vector<TokenId> tokens, EmbeddingDone done) override {
    const std::scoped_lock lock(mutex_);
    const RequestId id = ++last_id_;
    threads_.emplace_back([this, id, tokens = std::move(tokens), done = std::move(done)] {
      const engine::Usage usage = {.prompt_tokens = std::ssize(tokens)};
      if (waits_first_ && !goes_on(id, true)) {
        done(fail(ErrorCode::kUnavailable, "cancelled"), usage);
        return;
      }
      const auto count = static_cast<float>(tokens.size());
      done(std::vector<float>{count, static_cast<float>(tokens.front()), -0.5F}, usage);
      std::this_thread::sleep_for(linger_);
    });
    return id;
  }

  void cancel(RequestId id) override {
    {
      const std::scoped_lock lock(mutex_);
      cancelled_.insert(id);
    }
    changed_.notify_all();
  }

  // One token a byte.
  Result<std::vector<TokenId>> encode(std::string_view text) const override {
    ++encoded_;
    return std::vector<TokenId>(reinterpret_cast<const unsigned char*>(text.data()),
                                reinterpret_cast<const unsigned char*>(text.data()) + text.size());
  }

  std::string decode(std::span<const TokenId> tokens) const override {
    return {tokens.begin(), tokens.end()};
  }

  engine::EngineStats stats() const override {
    return {.running = running_, .kv_blocks_total = 10};
  }

  admission::Forecast forecast(const admission::Prospect& prospect) const override {
    asked_forecasts_.push_back(prospect);
    return forecast_;
  }

  std::optional<admission::Load> load() const override {
    const std::scoped_lock lock(mutex_);
    return load_;
  }

  void set_load(const std::optional<admission::Load>& load) {
    const std::scoped_lock lock(mutex_);
    load_ = load;
  }

  // The same for all.
  Result<std::vector<TokenId>> chat_prompt(
      const chat::ChatInput& /*input*/, const chat::GenerationOptions& /*options*/) const override {
    return chat_prompt_;
  }

  // Lets a script with `waits_` set go on.
  void release() {
    {
      const std::scoped_lock lock(mutex_);
      waits_ = false;
    }
    changed_.notify_all();
  }

  std::set<RequestId> cancelled() {
    const std::scoped_lock lock(mutex_);
    return cancelled_;
  }

  // Set before the server starts, or between requests.
  ModelCard card_;
  std::vector<chat::Delta> script_;
  chat::Finish finish_ = chat::Finish::kStop;
  admission::Forecast forecast_;
  std::vector<TokenId> chat_prompt_ = std::vector<TokenId>(7);
  std::optional<Error> refusal_;  // of start_chat and start_completion
  std::optional<Error> failure_;  // at the end of the script
  int repeats_ = 1;               // of the script
  std::chrono::microseconds pause_{0};
  std::chrono::milliseconds linger_{0};  // after the end, with the job's callbacks still in hand
  bool waits_ = false;                   // after the first delta, until release()
  bool waits_first_ = false;             // ... before it

  // What was asked.
  std::vector<chat::ChatInput> chats_;
  std::vector<std::vector<TokenId>> prompts_;
  std::vector<chat::GenerationOptions> options_;
  mutable std::vector<admission::Prospect> asked_forecasts_;
  std::atomic<std::int64_t> running_ = 0;
  std::atomic<std::int64_t> started_ = 0;
  mutable std::atomic<std::int64_t> encoded_ = 0;
  std::int64_t approximate_tokens_ = 0;  // of each prompt

 private:
  Result<RequestId> start(chat::GenerationOptions options,
                          chat::Sink sink,
                          std::int64_t prompt_tokens) {
    if (refusal_) {
      return tl::unexpected(*refusal_);
    }
    options_.push_back(std::move(options));
    const RequestId id = ++last_id_;
    ++running_;
    ++started_;
    threads_.emplace_back(
        [this, id, sink = std::move(sink), prompt_tokens] { perform(id, sink, prompt_tokens); });
    return id;
  }

  bool goes_on(RequestId id, bool waits) {
    std::unique_lock lock(mutex_);
    changed_.wait(lock,
                  [&] { return !waits || !waits_ || is_closing_ || cancelled_.contains(id); });
    return !is_closing_ && !cancelled_.contains(id);
  }

  void perform(RequestId id, const chat::Sink& sink, std::int64_t prompt_tokens) {
    chat::Outcome outcome;
    outcome.finish = finish_;
    std::int64_t tokens = 0;
    bool is_cancelled = waits_first_ && !goes_on(id, true);
    for (int round = 0; round < repeats_ && !is_cancelled; ++round) {
      for (const chat::Delta& delta : script_) {
        if (!goes_on(id, tokens == 1 && !waits_first_) || !sink.on_delta(delta)) {
          is_cancelled = true;
          break;
        }
        ++tokens;
        std::this_thread::sleep_for(pause_);
      }
    }
    outcome.usage = {.prompt_tokens = prompt_tokens,
                     .cached_tokens = 2,
                     .approximate_tokens = approximate_tokens_,
                     .completion_tokens = tokens};
    if (is_cancelled) {
      outcome.finish = chat::Finish::kCancelled;
    } else if (failure_) {
      outcome.finish = chat::Finish::kError;
      outcome.error = failure_;
    }
    --running_;
    sink.on_done(outcome);
    std::this_thread::sleep_for(linger_);
  }

  mutable std::mutex mutex_;
  std::condition_variable changed_;
  std::optional<admission::Load> load_;
  bool is_closing_ = false;
  std::set<RequestId> cancelled_;
  RequestId last_id_ = 0;
  std::vector<std::thread> threads_;
};

}  // namespace edgewise::api
