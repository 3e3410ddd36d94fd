// Test only: a runner over the toy model, what is asked of it and what it answers.
#pragma once

#include <gtest/gtest.h>

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "engine/runner.h"
#include "model/toy_model.h"

namespace edgewise::engine {

using model::some_tokens;
using model::Tokens;
constexpr TokenId kEnd = 0;

struct Answer {
  Tokens tokens;
  std::vector<float> logprobs;  // of each token, and its alternatives
  std::optional<FinishReason> finish;
  std::optional<Error> error;
  std::vector<float> embedding;
  Usage usage;
  int finishes = 0;
  bool after_finish = false;  // an event came after the last
};

struct Ask {
  Tokens prompt;
  std::int64_t max_tokens = 20;
  std::uint64_t seed = 1;
  std::string scope = {};
  bool embedding = false;
  bool ignore_eos = false;
  std::int64_t min_tokens = 0;
  bool approximate = false;
  std::int64_t stop_after = -1;  // after this many tokens its receiver says `stop`
  Reply stop = Reply::kComplete;
  sampling::SamplingParams sampling = {};  // but for the seed
  // Makes the grammar, where there is one.
  std::function<std::unique_ptr<sampling::GrammarMatcher>()> matcher = nullptr;
  std::optional<double> deadline_s = {};
};

struct ToyDraft {
  model::ToyOptions toy = {};
  std::int64_t blocks = 64;
};

class Bench {  // a runner and the answers of what was put to it
 public:
  Bench(std::int64_t blocks,
        RunnerOptions options,
        const model::ToyOptions& toy = {},
        kernels::KvType kv_type = kernels::KvType::kF16,
        const std::optional<ToyDraft>& draft = std::nullopt) {
    options.end_tokens = {kEnd};
    std::unique_ptr<speculation::DraftModel> draft_model;
    if (draft.has_value()) {
      draft_model = std::make_unique<speculation::DraftModel>(
          std::make_unique<model::ToyModel>(draft->toy),
          std::move(*cache::KvCache::create({{1, 1, 1}}, draft->blocks, kv_type)), options.now);
    }
    auto model = std::make_unique<model::ToyModel>(toy);
    model_ = model.get();
    runner_ = std::make_unique<Runner>(
        std::move(model), std::move(*cache::KvCache::create({{1, 1, 1}}, blocks, kv_type)), options,
        nullptr, std::move(draft_model));
    options_ = std::move(options);
  }

  RequestId ask(const Ask& ask) {
    auto sequence = std::make_unique<Sequence>();
    const RequestId id = ++last_id_;
    Answer& answer = answers_[id];
    sequence->id = id;
    sequence->submitted = options_.now();
    sequence->tokens = ask.prompt;
    sequence->prompt_tokens = std::ssize(ask.prompt);
    sequence->request.max_tokens = ask.max_tokens;
    sequence->request.min_tokens = ask.min_tokens;
    sequence->request.ignore_eos = ask.ignore_eos;
    sequence->request.embedding = ask.embedding;
    sequence->request.tenant = ask.scope;
    sequence->request.approximate_reuse = ask.approximate;
    if (ask.deadline_s) {
      sequence->request.deadline =
          options_.now() + std::chrono::duration_cast<Clock::duration>(
                               std::chrono::duration<double>(*ask.deadline_s));
    }
    sequence->request.on_event = [&answer, stop_after = ask.stop_after,
                                  stop = ask.stop](Event event) {
      answer.after_finish = answer.after_finish || answer.finish.has_value();
      if (event.draw) {
        answer.tokens.push_back(event.draw->token);
        answer.logprobs.push_back(event.draw->logprob);
        for (const sampling::TokenLogprob& other : event.draw->alternatives) {
          answer.logprobs.push_back(other.logprob);
        }
      }
      if (event.finish) {
        answer.finish = event.finish;
        answer.error = event.error;
        answer.embedding = std::move(event.embedding);
        answer.usage = event.usage;
        ++answer.finishes;
      }
      return stop_after < 0 || std::ssize(answer.tokens) < stop_after ? Reply::kGoOn : stop;
    };
    if (!ask.embedding) {
      sampling::SamplingParams params = ask.sampling;
      params.seed = ask.seed;
      sequence->sampler.emplace(params, ask.prompt, ask.matcher ? ask.matcher() : nullptr);
    }
    runner_->add(std::move(sequence));
    return id;
  }

  void run() {
    while (!runner_->idle()) {
      runner_->step();
    }
  }

  Runner& runner() { return *runner_; }

  Answer& answer(RequestId id) { return answers_[id]; }

  std::map<RequestId, Answer>& answers() { return answers_; }

  std::int64_t tokens_computed() const { return model_->tokens_computed(); }

  std::int64_t positions_copied() const { return model_->positions_copied(); }

  std::int64_t rows_cut() const { return model_->rows_cut(); }

 private:
  std::map<RequestId, Answer> answers_;
  std::unique_ptr<Runner> runner_;
  RunnerOptions options_;
  const model::ToyModel* model_ = nullptr;
  RequestId last_id_ = 0;
};

inline RunnerOptions options(std::int64_t context = 1024,
                             std::int64_t sequences = 8,
                             std::int64_t step = 64) {
  RunnerOptions o;
  o.context = context;
  o.max_sequences = sequences;
  o.limits.tokens = step;
  o.limits.alone_seconds = o.limits.shared_seconds = 1e9;
  return o;
}

// Without speculation, with the machine to itself.
inline Answer alone(const Ask& ask, std::int64_t context, const model::ToyOptions& toy = {}) {
  Bench bench((context + 63) / 64, options(context, 1, 100000), toy);
  const RequestId id = bench.ask(ask);
  bench.run();
  return bench.answer(id);
}

inline void expect_all_blocks_free(Runner& runner) {
  runner.prefixes().clear();
  EXPECT_EQ(runner.cache().free_blocks(), runner.cache().capacity());
  if (speculation::DraftModel* draft_model = runner.draft_model()) {
    draft_model->prefixes().clear();
    EXPECT_EQ(draft_model->cache().free_blocks(), draft_model->cache().capacity());
  }
}

}  // namespace edgewise::engine
