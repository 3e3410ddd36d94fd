#include "engine/runner.h"

#include <algorithm>
#include <limits>
#include <numeric>

#include "base/check.h"
#include "engine/deadline.h"
#include "kernels/kernel_table.h"
#include "steps/expected_cost.h"

namespace edgewise::engine {
namespace {

constexpr std::int64_t kBlock = kernels::kKeyBlock;
// Of the time that steps take, for guesses that only show whether the draft model would pay.
constexpr double kProbeShare = 0.01;
constexpr double kMostProbeSeconds = 1.0;

model::Want want_of(const Sequence& sequence, std::int64_t tokens, bool drafted) {
  if (sequence.request.embedding) {
    return model::Want::kEmbedding;
  }
  if (sequence.computed + tokens < sequence.target()) {
    return model::Want::kNothing;
  }
  return drafted ? model::Want::kAllLogits : model::Want::kLastLogits;
}

}  // namespace

Runner::Runner(std::unique_ptr<model::Model> model,
               std::unique_ptr<cache::KvCache> cache,
               RunnerOptions options,
               std::unique_ptr<reuse::PageTraffic> pages,
               std::unique_ptr<speculation::DraftModel> draft_model)
    : model_(std::move(model)),
      cache_(std::move(cache)),
      options_(std::move(options)),
      prefixes_(*cache_),
      times_(steps::expected_cost(*model_)),
      pages_(std::move(pages)),
      draft_model_(std::move(draft_model)) {
  CHECK(options_.limits.tokens >= 1 && options_.max_sequences >= 1);
  CHECK(cache_->capacity() * kBlock >= options_.context);
  if (options_.scheduling == Scheduling::kDeadline && options_.selects_beside) {
    beside_ = std::make_unique<admission::SelectionThread>(options_.selection_seconds);
  }
  if (pages_ != nullptr) {
    prefixes_.watch_hot();
  }
}

Runner::~Runner() {
  cancel_all();
  offer_all_pages();
}

void Runner::add(std::unique_ptr<Sequence> sequence) {
  ++stats_.requests_total;
  fair_.enter(sequence->request.tenant);
  appraise(*sequence);
  if (look_on_disk(*sequence)) {
    looking_.push_back(std::move(sequence));
  } else {
    wait_in_line(std::move(sequence));
  }
}

// By id: whoever had to wait for something else keeps his place.
void Runner::wait_in_line(SequencePtr sequence) {
  const auto place =
      std::upper_bound(waiting_.begin(), waiting_.end(), sequence->id,
                       [](RequestId id, const SequencePtr& other) { return id < other->id; });
  waiting_.insert(place, std::move(sequence));
  changed_ = true;
}

void Runner::cancel(RequestId id) {
  const auto is_it = [id](const SequencePtr& sequence) { return sequence->id == id; };
  if (const auto it = std::find_if(looking_.begin(), looking_.end(), is_it); it != looking_.end()) {
    finish(**it, FinishReason::kCancelled);
    pages_->forget(id);
    looking_.erase(it);
  }
  if (const auto it = std::find_if(waiting_.begin(), waiting_.end(), is_it); it != waiting_.end()) {
    finish(**it, FinishReason::kCancelled);
    waiting_.erase(it);
  }
  if (const auto it = std::find_if(running_.begin(), running_.end(), is_it); it != running_.end()) {
    finish(**it, FinishReason::kCancelled);
    running_.erase(it);
    promise_link();
  }
}

void Runner::cancel_all() {
  while (!running_.empty()) {
    cancel(running_.back()->id);
  }
  while (!waiting_.empty()) {
    cancel(waiting_.back()->id);
  }
  while (!looking_.empty()) {
    cancel(looking_.back()->id);
  }
}

void Runner::step() {
  const Clock::time_point begin = options_.now();
  {
    const Stopwatch watch(*this);
    end_early();
  }
  if (options_.scheduling == Scheduling::kDeadline) {
    select_newcomers();
  } else {
    admit();
  }
  if (!running_.empty()) {
    plan();
    if (!step_.shares.empty()) {  // else whoever had tokens gave up his memory
      compute(step_.shares);
    }
    remove_finished();
    ++stats_.steps_total;
  }
  if (changed_) {
    promise_link();
  }
  stats_.busy_seconds += seconds_between(begin, options_.now());
}

// One pass of the model over `shares` and what comes of it, measured.
void Runner::compute(const std::vector<Share>& shares) {
  const Clock::time_point begin = options_.now();
  steps::StepShape shape;
  for (const auto& [sequence, tokens, draft, is_models] : shares) {
    shape.add(tokens, sequence->computed, sequence->computed + tokens == sequence->target());
    for (std::int64_t i = 0; i < std::ssize(draft); ++i) {
      shape.add(1, sequence->target() + i, /*draws=*/true);
    }
  }
  const model::StepResult result = forward(shares);
  for (const Share& share : shares) {
    account(*share.sequence, share.tokens);
  }
  publish(shares, result);
  const double seconds = seconds_between(begin, options_.now());
  times_.observe(shape, seconds);
  probe_seconds_ = std::min(probe_seconds_ + kProbeShare * seconds, kMostProbeSeconds);
}

const EngineStats& Runner::stats() {
  stats_.running = static_cast<std::int64_t>(running_.size());
  stats_.waiting = std::ssize(waiting_) + std::ssize(looking_);
  stats_.kv_blocks_total = cache_->capacity();
  stats_.kv_blocks_used = cache_->capacity() - cache_->free_blocks();
  stats_.kv_blocks_cached = prefixes_.evictable();
  stats_.kv_blocks_mapped = cache_->mapped_blocks();
  if (pages_ != nullptr) {
    stats_.disk = pages_->stats();
  }
  stats_.step_error = times_.cost().error();
  stats_.shortlists = model_->shortlist_counts();
  if (draft_model_ != nullptr) {
    const cache::KvCache& cache = draft_model_->cache();
    stats_.draft_seconds_total = draft_model_->busy_seconds();
    stats_.draft_weight_bytes = draft_model_->model().weight_bytes();
    stats_.draft_kv_blocks_total = cache.capacity();
    stats_.draft_kv_blocks_used = cache.capacity() - cache.free_blocks();
  }
  return stats_;
}

// Fills step_.shares.
void Runner::plan() {
  plan_tokens();
  const std::vector<std::int64_t>& tokens = step_.tokens;
  std::vector<Share>& shares = step_.shares;
  shares.clear();
  // Oldest first: whoever has to give up memory is further back and not in `shares` yet.
  for (std::size_t i = 0; i < running_.size(); ++i) {
    Sequence& sequence = *running_[i];
    if (tokens[i] > 0 && reserve_blocks(sequence, sequence.computed + tokens[i])) {
      shares.push_back({&sequence, tokens[i]});
    }
  }
  if (options_.speculate) {
    add_drafts(shares);
  }
}

// Fills step_.tokens: of each running sequence in the next step.
void Runner::plan_tokens() {
  const Stopwatch watch(*this);
  auto& order = step_.order;
  auto& progress = step_.progress;
  auto& planned = step_.planned;
  auto& tokens = step_.tokens;
  order.resize(running_.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  if (options_.scheduling == Scheduling::kDeadline) {
    std::sort(order.begin(), order.end(), [this](std::size_t a, std::size_t b) {
      return std::pair(running_[a]->due, a) < std::pair(running_[b]->due, b);
    });
  }
  progress.clear();
  for (const std::size_t i : order) {
    const Sequence& sequence = *running_[i];
    progress.push_back({.computed = sequence.computed,
                        .target = sequence.computed + sequence.missing(),
                        .indivisible = sequence.request.embedding});
  }
  steps::plan_step(progress, step_limits(), times_.cost(), planned);
  tokens.resize(running_.size());
  for (std::size_t k = 0; k < order.size(); ++k) {
    const Sequence& sequence = *running_[order[k]];
    tokens[order[k]] = std::min(planned[k], sequence.gap_end() - sequence.computed);
  }
}

// False: the sequence was the youngest and gave up its own blocks.
bool Runner::reserve_blocks(Sequence& sequence, std::int64_t positions) {
  while (static_cast<std::int64_t>(sequence.blocks.size()) < cache::blocks_for(positions)) {
    if (const auto block = prefixes_.allocate()) {
      sequence.blocks.push_back(*block);
      continue;
    }
    const bool is_youngest = running_.back().get() == &sequence;
    CHECK(running_.size() > 1, "{} cache blocks do not hold {} positions", cache_->capacity(),
          positions);
    preempt_youngest();
    if (is_youngest) {
      return false;
    }
  }
  return true;
}

std::optional<cache::BlockId> Runner::adopt(cache::Page page) {
  return prefixes_.make_room() ? cache_->adopt(std::move(page)) : std::nullopt;
}

Usage Runner::usage_of(const Sequence& sequence) const {
  const Clock::time_point now = options_.now();
  Usage usage;
  usage.prompt_tokens = sequence.prompt_tokens;
  usage.cached_tokens = sequence.cached_tokens;
  usage.approximate_tokens = sequence.approximate_tokens;
  usage.completion_tokens = sequence.generated();
  usage.drafted_tokens = sequence.drafted;
  usage.accepted_tokens = sequence.accepted;
  usage.model_drafted_tokens = sequence.model_drafted;
  usage.model_accepted_tokens = sequence.model_accepted;
  const Clock::time_point admitted = sequence.admitted.value_or(now);
  const Clock::time_point first_token = sequence.first_token.value_or(now);
  usage.queue_seconds = seconds_between(sequence.submitted, admitted);
  usage.prefill_seconds = seconds_between(admitted, first_token);
  usage.decode_seconds = seconds_between(first_token, now);
  return usage;
}

// Its blocks become cached prefix, of which only as much is evicted as others need.
void Runner::preempt_youngest() {
  SequencePtr sequence = std::move(running_.back());
  running_.pop_back();
  release_blocks(*sequence);
  ++stats_.preemptions_total;
  sequence->known_prefix.reset();
  wait_in_line(std::move(sequence));
}

model::StepResult Runner::forward(const std::vector<Share>& shares) {
  std::vector<TokenId>& guessed = step_.guessed;
  std::size_t most_guessed = 0;
  for (const Share& share : shares) {
    most_guessed +=
        share.draft.empty() ? 0 : static_cast<std::size_t>(share.tokens) + share.draft.size();
  }
  guessed.clear();
  guessed.reserve(most_guessed);  // segments point into it
  step_.plan.segments.clear();
  for (const auto& [sequence, tokens, draft, is_models] : shares) {
    model::Segment segment;
    segment.tokens = std::span<const TokenId>(sequence->tokens)
                         .subspan(static_cast<std::size_t>(sequence->computed),
                                  static_cast<std::size_t>(tokens));
    segment.first_position = sequence->computed;
    segment.blocks = sequence->blocks;
    segment.want = want_of(*sequence, tokens, !draft.empty());
    if (!draft.empty()) {
      const std::size_t begin = guessed.size();
      guessed.insert(guessed.end(), segment.tokens.begin(), segment.tokens.end());
      guessed.insert(guessed.end(), draft.begin(), draft.end());
      segment.tokens = std::span<const TokenId>(guessed).subspan(begin);
    }
    if (segment.want == model::Want::kLastLogits) {
      segment.largest = largest_needed(*sequence);
    }
    step_.plan.segments.push_back(segment);
  }
  return model_->forward(step_.plan, *cache_);
}

void Runner::account(Sequence& sequence, std::int64_t computed) {
  const std::int64_t whole_before = sequence.exact() / kBlock;
  sequence.advance(computed);
  if (keeps_prefix(sequence) && sequence.exact() / kBlock > whole_before) {
    const auto tokens =
        std::span<const TokenId>(sequence.tokens).first(static_cast<std::size_t>(sequence.exact()));
    prefixes_.insert(sequence.request.tenant, tokens, sequence.blocks,
                     /*whole_blocks_only=*/true);
  }
}

void Runner::publish(const std::vector<Share>& shares, const model::StepResult& result) {
  std::size_t row = 0;
  const std::span<const std::span<float>> rows = result.rows;
  for (const Share& share : shares) {
    Sequence& sequence = *share.sequence;
    if (sequence.computed < sequence.target()) {
      continue;  // still reading its prompt: no row
    }
    const std::size_t count = 1 + share.draft.size();
    CHECK(row + count <= rows.size(), "the model returned {} rows", rows.size());
    if (sequence.request.embedding) {
      Event event;
      event.embedding.assign(rows[row].begin(), rows[row].end());
      finish(sequence, FinishReason::kEnd, std::move(event));
    } else {
      draw_along(share, rows.subspan(row, count));
    }
    row += count;
  }
}

void Runner::draw_token(Sequence& sequence, std::span<float> logits) {
  if (!may_end(sequence)) {
    exclude_ends(logits);
  }
  Result<sampling::Draw> draw = sequence.sampler->sample(logits, sequence.target());
  if (draw && is_end(draw->token)) {
    finish(sequence, FinishReason::kEnd);
    return;
  }
  Result<void> accepted = draw ? sequence.sampler->accept(draw->token) : Result<void>();
  if (!draw || !accepted) {
    Event event;
    event.error = draw ? std::move(accepted).error() : std::move(draw).error();
    finish(sequence, FinishReason::kError, std::move(event));
    return;
  }
  if (!sequence.first_token.has_value()) {
    sequence.first_token = options_.now();
  }
  sequence.tokens.push_back(draw->token);
  ++stats_.completion_tokens_total;
  Event event;
  event.draw = std::move(*draw);
  const Reply reply = sequence.request.on_event(std::move(event));
  if (reply == Reply::kGone) {
    finish(sequence, FinishReason::kCancelled);
  } else if (reply == Reply::kComplete) {
    finish(sequence, FinishReason::kStopped);
  } else if (const auto reason = why_finished(sequence)) {
    finish(sequence, *reason);
  }
}

void Runner::exclude_ends(std::span<float> logits) const {
  for (const TokenId end : options_.end_tokens) {
    logits[static_cast<std::size_t>(end)] = -std::numeric_limits<float>::infinity();
  }
}

bool Runner::is_end(TokenId token) const {
  return std::find(options_.end_tokens.begin(), options_.end_tokens.end(), token) !=
         options_.end_tokens.end();
}

// See model::Segment. The ends that are taken out of the logits must not leave too few.
std::int64_t Runner::largest_needed(const Sequence& sequence) const {
  const std::int64_t needed = sequence.sampler->largest_needed();
  return needed == 0 || may_end(sequence) ? needed : needed + std::ssize(options_.end_tokens);
}

bool Runner::may_end(const Sequence& sequence) const {
  return !sequence.request.ignore_eos && sequence.generated() >= sequence.request.min_tokens;
}

std::optional<FinishReason> Runner::why_finished(const Sequence& sequence) const {
  if (sequence.sampler->grammar_is_complete()) {
    return FinishReason::kEnd;  // whatever min_tokens says: the grammar has no other token to offer
  }
  const bool enough =
      sequence.request.max_tokens >= 0 && sequence.generated() >= sequence.request.max_tokens;
  if (enough || sequence.target() >= options_.context) {
    return FinishReason::kLength;
  }
  return std::nullopt;
}

// Keys and values of a causal model depend only on the tokens before them; an encoder's depend on
// all.
bool Runner::keeps_prefix(const Sequence& sequence) const {
  return !sequence.request.embedding && model_->spec().causal;
}

void Runner::finish(Sequence& sequence, FinishReason reason, Event event) {
  settle(sequence, reason);
  release_blocks(sequence);
  sequence.finished = true;
  event.finish = reason;
  event.usage = usage_of(sequence);
  sequence.request.on_event(std::move(event));
}

void Runner::release_blocks(Sequence& sequence) {
  if (keeps_prefix(sequence)) {
    const auto tokens =
        std::span<const TokenId>(sequence.tokens).first(static_cast<std::size_t>(sequence.exact()));
    prefixes_.insert(sequence.request.tenant, tokens, sequence.blocks,
                     /*whole_blocks_only=*/false);
  }
  for (const cache::BlockId block : sequence.blocks) {
    cache_->release(block);
  }
  if (draft_model_ != nullptr) {
    draft_model_->forget(text_of(sequence));
  }
  sequence.blocks.clear();
  sequence.copied.clear();
  sequence.computed = 0;
}

void Runner::remove_finished() {
  std::erase_if(running_, [](const SequencePtr& sequence) { return sequence->finished; });
}

}  // namespace edgewise::engine
