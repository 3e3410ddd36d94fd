#include "engine/engine.h"

#include <algorithm>
#include <limits>
#include <thread>

#include "base/check.h"
#include "base/log.h"
#include "engine/inbox.h"
#include "engine/memory_plan.h"
#include "engine/runner.h"
#include "platform/cpu.h"
#include "reuse/page_key.h"

namespace edgewise::engine {
namespace {

constexpr auto kLoadAge = std::chrono::milliseconds(20);
// What others leave of the link changes, and who looks on disk may be late meanwhile.
constexpr auto kLookAge = std::chrono::milliseconds(20);

// The engine's life: take what came in, compute one step of it when it is its turn, tell how things
// stand.
void run_until_stopped(Inbox& inbox, Runner& runner, platform::Turn::Seat& seat) {
  Clock::time_point told = Clock::now();
  while (true) {
    const bool has_nothing = runner.idle() || runner.is_held_back();
    const bool looks_again = runner.is_held_back() || runner.is_looking();
    if (has_nothing) {
      seat.leave();
    }
    Inbox::Mail mail = inbox.take(has_nothing && !runner.has_page_to_offer(),
                                  looks_again ? Clock::now() + kLookAge : Clock::time_point::max());
    for (auto& sequence : mail.sequences) {
      runner.add(std::move(sequence));
    }
    const bool has_news = !mail.sequences.empty();
    for (const RequestId id : mail.cancelled) {
      runner.cancel(id);
    }
    if (mail.stop) {
      runner.cancel_all();
    }
    runner.exchange_pages();
    if (inbox.wants_load() && (has_news || runner.idle() || Clock::now() - told > kLoadAge)) {
      inbox.report_load(runner.load());
      told = Clock::now();
    }
    if (!runner.idle()) {
      seat.take();
      runner.step();
      if (runner.idle() && inbox.wants_load()) {  // nothing will make it look again
        inbox.report_load(runner.load());
      }
    } else if (runner.is_looking()) {
      runner.end_early();
    }
    EngineStats stats = runner.stats();
    stats.turn_wait_seconds_total = seat.waited_seconds();
    inbox.report(stats, stats.running + stats.waiting,
                 stats.waiting > 0 ? runner.next_end() : std::nullopt);
    if (mail.stop) {
      return;
    }
  }
}

Result<void> check_prompt(const Request& request,
                          const model::ModelSpec& spec,
                          std::int64_t context) {
  const auto length = static_cast<std::int64_t>(request.prompt.size());
  if (length == 0) {
    return fail(ErrorCode::kInvalidArgument, "the prompt is empty; send at least one token");
  }
  for (const TokenId token : request.prompt) {
    if (token < 0 || token >= spec.vocab) {
      return fail(ErrorCode::kInvalidArgument,
                  "the prompt has token id {}, but this model's ids are 0 to {}", token,
                  spec.vocab - 1);
    }
  }
  if (request.embedding && length > context) {
    return fail(ErrorCode::kResourceExhausted,
                "the input has {} tokens, but the context holds {}; shorten the input", length,
                context);
  }
  if (!request.embedding && length >= context) {
    return fail(ErrorCode::kResourceExhausted,
                "the prompt has {} tokens and the context holds {}, which leaves no room for an "
                "answer; shorten the "
                "prompt or allow a longer context",
                length, context);
  }
  return {};
}

Result<void> check_request(const Request& request,
                           const model::ModelSpec& spec,
                           std::int64_t context) {
  if (!request.on_event) {
    return fail(ErrorCode::kInvalidArgument, "a request needs a receiver of its events");
  }
  const bool embeds = spec.pooling != model::Pooling::kNone;
  if (request.embedding && !embeds) {
    return fail(ErrorCode::kUnsupported,
                "this model ({}) generates text; it has no pooling for embeddings",
                spec.architecture);
  }
  if (!request.embedding && !spec.causal) {
    return fail(ErrorCode::kUnsupported,
                "this model ({}) makes embeddings; it does not generate text", spec.architecture);
  }
  if (request.max_tokens < -1) {
    return fail(ErrorCode::kInvalidArgument,
                "max_tokens is {}, but must be at least 0, or -1 for no limit", request.max_tokens);
  }
  if (request.min_tokens < 0 ||
      (request.max_tokens >= 0 && request.min_tokens > request.max_tokens)) {
    return fail(ErrorCode::kInvalidArgument,
                "min_tokens is {}, but must be between 0 and max_tokens ({})", request.min_tokens,
                request.max_tokens);
  }
  TRY_VOID(sampling::validate(request.sampling));
  for (const auto& [token, bias] : request.sampling.logit_bias) {
    if (token < 0 || token >= spec.vocab) {
      return fail(ErrorCode::kInvalidArgument,
                  "logit_bias names token {}, but this model's ids are 0 to {}", token,
                  spec.vocab - 1);
    }
  }
  return check_prompt(request, spec, context);
}

Result<void> check_options(const EngineOptions& options) {
  if (options.recomputation.first < 0 || options.recomputation.last < 1) {
    return fail(
        ErrorCode::kInvalidArgument,
        "of a run that is taken over {} tokens cannot be computed again, nor of a prompt {}",
        options.recomputation.first, options.recomputation.last);
  }
  if (options.max_sequences < 1 || options.max_waiting < 0 || options.step_tokens < 1 ||
      !(options.stall_seconds >= 0.0)) {
    return fail(ErrorCode::kInvalidArgument,
                "max_sequences ({}) and step_tokens ({}) must be at least 1, max_waiting ({}) and "
                "stall_seconds ({}) at least 0",
                options.max_sequences, options.step_tokens, options.max_waiting,
                options.stall_seconds);
  }
  return {};
}

Result<void> check_draft_model(const model::ModelSpec& draft, const EngineOptions& options) {
  if (!draft.causal || !draft.generates) {
    return fail(ErrorCode::kUnsupported,
                "the draft model ({}) makes embeddings; it can not guess tokens",
                draft.architecture);
  }
  if (!options.speculate) {
    return fail(ErrorCode::kInvalidArgument, "a draft model has no use without speculation");
  }
  return {};
}

struct Caches {
  std::int64_t context = 0;  // positions one sequence may take
  std::unique_ptr<cache::KvCache> own;
  std::unique_ptr<cache::KvCache> draft;  // null without a draft model
};

Result<std::unique_ptr<cache::KvCache>> make_draft_cache(const model::Model& draft,
                                                         const MemoryNeeds& needs,
                                                         std::int64_t context,
                                                         kernels::KvType type) {
  const auto blocks = plan_draft_blocks(needs, context);
  if (!blocks) {
    return wrap(blocks.error(), "the draft model");
  }
  auto cache = TRY(cache::KvCache::create(draft.kv_shapes(), *blocks, type));
  log(LogLevel::kInfo, "draft model {}: {} cache blocks of {} bytes", draft.spec().architecture,
      *blocks, needs.block_bytes);
  return cache;
}

// `draft` may be null.
Result<Caches> make_caches(const model::Model& model,
                           const model::Model* draft,
                           const EngineOptions& options) {
  const std::vector<cache::KvLayerShape> shapes = model.kv_shapes();
  // An encoder keeps nothing beyond a step, so there is nothing to save.
  const kernels::KvType type = model.spec().causal ? options.kv_type : kernels::KvType::kF16;
  MemoryNeeds needs;
  needs.trained_context = model.spec().context;
  needs.block_bytes = cache::KvCache::block_bytes(shapes, type);
  needs.available_bytes = platform::available_memory_bytes();
  needs.max_sequences = options.max_sequences;
  needs.asked_context = options.context;
  needs.asked_budget_bytes = options.kv_budget_bytes;
  MemoryNeeds draft_needs;
  if (draft != nullptr) {
    draft_needs = split_off_draft(needs, draft->spec().context,
                                  cache::KvCache::block_bytes(draft->kv_shapes(), type));
  }
  const MemoryPlan plan = TRY(plan_memory(needs));
  log(LogLevel::kInfo, "context {} tokens, {} cache blocks of {} bytes ({})", plan.context,
      plan.blocks, needs.block_bytes, kernels::kv_type_name(type));
  Caches caches;
  caches.context = plan.context;
  caches.own = TRY(cache::KvCache::create(shapes, plan.blocks, type));
  if (draft != nullptr) {
    caches.draft = TRY(make_draft_cache(*draft, draft_needs, plan.context, type));
  }
  return caches;
}

RunnerOptions runner_options_of(const EngineOptions& options,
                                std::int64_t context,
                                std::vector<TokenId> end_tokens) {
  RunnerOptions runner;
  runner.context = context;
  runner.max_sequences = options.max_sequences;
  runner.limits.tokens = options.step_tokens;
  runner.limits.shared_seconds = options.stall_seconds;
  runner.end_tokens = std::move(end_tokens);
  runner.scheduling = options.scheduling;
  runner.selects_beside = true;
  runner.speculate = options.speculate;
  runner.recomputation = options.recomputation;
  runner.link = options.link;
  return runner;
}

// Null where nothing is to be kept on disk, or the folder is not usable, which is no reason not to
// answer.
Result<std::unique_ptr<reuse::PageTraffic>> open_pages(const DiskOptions& options,
                                                       model::Model& model,
                                                       cache::KvCache& cache,
                                                       std::function<void()> on_change) {
  if (options.budget_bytes <= 0 || !model.spec().causal || !model.spec().generates) {
    return nullptr;
  }
  auto store = cache::PageStore::open(options.folder,
                                      cache::KvCache::block_bytes(model.kv_shapes(), cache.type()),
                                      options.budget_bytes);
  if (!store && store.error().code == ErrorCode::kInvalidArgument) {
    return tl::unexpected<Error>(std::move(store).error());
  }
  const Result<cache::PageKey> key = reuse::model_key(options.model_label, model, cache);
  if (!store || !key) {
    log(LogLevel::kWarning, "prefixes are not kept on disk: {}",
        !store ? store.error().message : key.error().message);
    return nullptr;
  }
  return std::make_unique<reuse::PageTraffic>(std::move(*store), *key, std::move(on_change));
}

}  // namespace

struct Engine::State {
  State(std::int64_t unfinished_limit, bool keeps_load) : inbox(unfinished_limit, keeps_load) {}

  Inbox inbox;  // outlives who wakes it
  std::shared_ptr<platform::Turn> turn;
  std::optional<platform::Turn::Seat> seat;  // the engine thread's
  std::unique_ptr<Runner> runner;            // the engine thread's, once it runs
  const model::ModelSpec* spec = nullptr;    // immutable
  std::int64_t context = 0;
  std::shared_ptr<const sampling::GrammarFactory> grammars;
  std::thread thread;
};

Engine::Engine() = default;

Engine::~Engine() {
  if (state_ != nullptr && state_->thread.joinable()) {
    state_->inbox.stop();
    state_->thread.join();
  }
}

Result<std::unique_ptr<Engine>> Engine::create(
    std::unique_ptr<model::Model> model,
    std::vector<TokenId> end_tokens,
    std::shared_ptr<const sampling::GrammarFactory> grammars,
    const EngineOptions& options,
    std::unique_ptr<model::Model> draft_model) {
  TRY_VOID(check_options(options));
  const model::ModelSpec& spec = model->spec();
  std::erase_if(end_tokens, [&](TokenId token) { return token < 0 || token >= spec.vocab; });
  if (draft_model != nullptr) {
    TRY_VOID(check_draft_model(draft_model->spec(), options));
  }
  Caches caches = TRY(make_caches(*model, draft_model.get(), options));
  RunnerOptions runner_options = runner_options_of(options, caches.context, std::move(end_tokens));
  std::unique_ptr<speculation::DraftModel> drafts;
  if (draft_model != nullptr) {
    drafts = std::make_unique<speculation::DraftModel>(std::move(draft_model),
                                                       std::move(caches.draft), runner_options.now);
  }

  std::unique_ptr<Engine> engine(new Engine());
  engine->state_ =
      std::make_unique<State>(options.max_sequences + options.max_waiting, options.forecasts);
  State& state = *engine->state_;
  state.spec = &spec;
  state.turn = options.turn != nullptr ? options.turn : std::make_shared<platform::Turn>();
  state.seat.emplace(*state.turn);
  runner_options.machine = [&seat = *state.seat] { return seat.outlook(); };
  auto pages =
      TRY(open_pages(options.disk, *model, *caches.own, [&inbox = state.inbox] { inbox.wake(); }));
  state.runner =
      std::make_unique<Runner>(std::move(model), std::move(caches.own), std::move(runner_options),
                               std::move(pages), std::move(drafts));
  state.context = caches.context;
  state.grammars = std::move(grammars);
  state.inbox.report(state.runner->stats(), 0);
  if (options.forecasts) {
    state.inbox.report_load(state.runner->load());
  }
  state.thread =
      std::thread([&state] { run_until_stopped(state.inbox, *state.runner, *state.seat); });
  return engine;
}

Result<RequestId> Engine::submit(Request request) {
  TRY_VOID(check_request(request, *state_->spec, state_->context));
  auto sequence = std::make_unique<Sequence>();
  if (!request.embedding) {
    std::unique_ptr<sampling::GrammarMatcher> matcher;
    if (request.sampling.grammar.has_value()) {
      if (state_->grammars == nullptr) {
        return fail(ErrorCode::kUnsupported, "constrained output is not available for this model");
      }
      matcher = TRY(state_->grammars->create_matcher(*request.sampling.grammar, request.tenant));
    }
    sequence->sampler.emplace(request.sampling, request.prompt, std::move(matcher));
  }
  sequence->tokens = std::move(request.prompt);
  sequence->prompt_tokens = static_cast<std::int64_t>(sequence->tokens.size());
  sequence->request = std::move(request);
  return state_->inbox.submit(std::move(sequence));
}

void Engine::cancel(RequestId id) {
  state_->inbox.cancel(id);
}

admission::Forecast Engine::forecast(const admission::Prospect& prospect) const {
  const std::optional<admission::Load> now = load();
  CHECK(now.has_value(), "an engine that keeps no forecasts");
  return admission::forecast(*now, prospect, Clock::now());
}

std::optional<admission::Load> Engine::load() const {
  return state_->inbox.load();
}

const model::ModelSpec& Engine::spec() const {
  return *state_->spec;
}

std::int64_t Engine::context() const {
  return state_->context;
}

EngineStats Engine::stats() const {
  return state_->inbox.stats();
}

}  // namespace edgewise::engine
