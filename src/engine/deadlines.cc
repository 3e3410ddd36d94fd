// The part of Runner that keeps time: ends what is late, and under Scheduling::kDeadline decides who
// is let in next. admission/selection.h has the decision itself, here is what it is asked and what follows.
#include <algorithm>
#include <cmath>

#include "base/log.h"
#include "engine/runner.h"
#include "kernels/kernel_table.h"

namespace edgewise::engine {
namespace {

using schedule::kNever;

constexpr std::int64_t kBlock = kernels::kKeyBlock;
constexpr double kDelivery = 0.010;  // from a drawn token to the client, seconds
constexpr double kLeastShare = 0.1;  // of the link, that an answer sent at once is taken to have
constexpr double kStepOfPriority = 10.0;  // waiting this long is worth as much as one of priority
constexpr double kStepOfLead = 1.0;       // ... and a tenant's being so far ahead takes one away
constexpr double kMostExponent = 14.0;    // values further apart would be lost in rounding
constexpr double kOverdue = 30.0;         // seconds after which one without a deadline goes first
constexpr auto kPatience = std::chrono::seconds(10);     // of a prompt without a deadline
constexpr auto kStale = std::chrono::milliseconds(100);  // values and slacks change with time
constexpr std::size_t kLookedUp = 8;                     // prefixes searched anew for a snapshot
constexpr std::int64_t kMostNodes = 2000;                // of a search that no clock ends
constexpr double kSharedStep = 0.1;  // seconds of a prompt's step while other engines wait for it

double seconds_between(Clock::time_point begin, Clock::time_point end) {
  return std::chrono::duration<double>(end - begin).count();
}

Clock::duration duration_of(double seconds) {
  return std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(seconds));
}

std::int64_t blocks_for(std::int64_t positions) {
  return (positions + kBlock - 1) / kBlock;
}

bool is_past(const std::optional<Clock::time_point>& time, Clock::time_point now) {
  return time.has_value() && *time <= now;
}

double seconds_until(const std::optional<Clock::time_point>& time, Clock::time_point now) {
  return time.has_value() ? seconds_between(now, *time) - kDelivery : kNever;
}

bool has_deadline(const Request& request) {
  return request.deadline.has_value() || request.first_token_deadline.has_value();
}

std::string_view describe(FinishReason reason) {
  switch (reason) {
    case FinishReason::kEnd:
      return "ended";
    case FinishReason::kLength:
      return "reached its length";
    case FinishReason::kStopped:
      return "was stopped by its receiver";
    case FinishReason::kCancelled:
      return "was cancelled";
    case FinishReason::kError:
      return "was refused or failed";
  }
  return "";
}

Event time_is_up(const Sequence& sequence, std::string why) {
  Event event;
  event.error = Error{
      ErrorCode::kDeadlineExceeded,
      fmt::format("{} after {} of its tokens; the work was stopped", why, sequence.generated())};
  return event;
}

}  // namespace

// Tokens that the answer may have at most, in all.
std::int64_t Runner::most_tokens(const Sequence& sequence) const {
  if (sequence.request.embedding) {
    return 1;
  }
  const std::int64_t room = options_.context - sequence.prompt_tokens;
  const std::int64_t asked = sequence.request.max_tokens;
  return std::max<std::int64_t>(1, asked >= 0 ? std::min(asked, room) : room);
}

std::int64_t Runner::remaining_tokens(const Sequence& sequence) const {
  const std::int64_t most = most_tokens(sequence);
  const std::int64_t generated = sequence.generated();
  if (sequence.request.ignore_eos) {
    return std::max<std::int64_t>(1, most - generated);
  }
  return std::max({std::int64_t{1}, sequence.request.min_tokens - generated,
                   lengths_.remaining(generated, most)});
}

std::int64_t Runner::least_remaining_tokens(const Sequence& sequence) const {
  if (sequence.request.ignore_eos) {
    return remaining_tokens(sequence);
  }
  const std::int64_t generated = sequence.generated();
  return std::max({std::int64_t{1}, sequence.request.min_tokens - generated,
                   lengths_.least_remaining(generated, most_tokens(sequence))});
}

// Even if it had the machine to itself from now on, and its answer ended as early as it may.
bool Runner::is_too_late(const Sequence& sequence, const schedule::StepCost& cost) const {
  const Request& request = sequence.request;
  if (!has_deadline(request)) {
    return false;
  }
  const std::int64_t least = request.ignore_eos ? most_tokens(sequence) : request.min_tokens;
  const double prompt = cost.prompt_s(sequence.target() - sequence.missing(), sequence.target());
  const double steps =
      static_cast<double>(std::max<std::int64_t>(0, least - sequence.generated() - 1));
  const Clock::time_point first = options_.now() + duration_of(prompt);
  const Clock::time_point last = first + duration_of(steps * cost.decode_s(1.0, 0.0));
  return (!sequence.first_token.has_value() && is_past(request.first_token_deadline, first)) ||
         is_past(request.deadline, last);
}

// Those who want no token, and those whose time is up.
void Runner::end_early() {
  const Clock::time_point now = options_.now();
  const schedule::StepCost cost = admission::planning_cost(
      times_.cost(), options_.limits.tokens, 1.0 / (1.0 + 2.0 * times_.cost().error()));
  const auto reason = [&](const Sequence& sequence) -> const char* {
    const Request& request = sequence.request;
    if (is_past(request.deadline, now)) {
      return "the deadline passed";
    }
    if (!sequence.first_token.has_value() && is_past(request.first_token_deadline, now)) {
      return "the deadline of the first token passed";
    }
    if (options_.scheduling == Scheduling::kDeadline && sequence.admitted.has_value() &&
        is_too_late(sequence, cost)) {
      return "the deadline could no longer be met";
    }
    return nullptr;
  };
  const auto end = [&](const SequencePtr& sequence) {
    if (sequence->request.max_tokens == 0 && !sequence->request.embedding) {
      finish(*sequence, FinishReason::kLength);
      return true;
    }
    const char* why = reason(*sequence);
    if (why != nullptr) {
      ++(sequence->admitted.has_value() ? stats_.expired_running_total
                                        : stats_.expired_waiting_total);
      finish(*sequence, FinishReason::kError, time_is_up(*sequence, why));
    }
    return why != nullptr;
  };
  std::erase_if(waiting_, end);
  std::erase_if(running_, end);
}

void Runner::select_newcomers() {
  if (beside_ != nullptr && beside_->busy()) {
    // Where nothing runs, nobody's next token waits for the search.
    const auto selection = running_.empty() ? std::optional(beside_->wait()) : beside_->take();
    if (selection.has_value()) {
      take_selection(*selection);
    }
  }
  admit_selected();
  const Clock::time_point now = options_.now();
  const bool is_stale = changed_ || now - snapshot_time_ >= kStale;
  if (!waiting_.empty() && is_stale && (beside_ == nullptr || !beside_->busy())) {
    changed_ = false;
    snapshot_time_ = now;
    start_selection();
  }
  if (running_.empty() && !waiting_.empty()) {
    // Nobody would surely be in time: whoever came first may try, so that something always happens.
    selected_.assign(1, waiting_.front()->id);
    admit_selected();
  }
}

void Runner::start_selection() {
  admission::Snapshot snapshot = take_snapshot();
  if (beside_ == nullptr) {
    take_selection(options_.select ? options_.select(snapshot)
                                   : admission::select(snapshot, kMostNodes));
  } else if (running_.empty()) {
    take_selection(admission::select_within(snapshot, options_.selection_seconds));
  } else {
    beside_->post(std::move(snapshot));
    return;
  }
  admit_selected();
}

// Who asked for a deadline wants to be done by then, and does not mind uneven steps on the way: where
// nobody else reads along, prompts get more of the time. Where others queue behind the prompt that
// is being read, everyone who is here gets the same share of the machine: even steps for a few must
// not cost many their beginning.
//
// The readers of another engine have agreed to nothing: while there are any, steps stay short.
steps::StepLimits Runner::step_limits() const {
  steps::StepLimits limits = options_.limits;
  if (options_.machine().is_shared) {
    limits.alone_seconds = std::min(limits.alone_seconds, kSharedStep);
    return limits;
  }
  std::int64_t readers = 0;
  bool all_have_deadlines = true;
  for (const SequencePtr& sequence : running_) {
    readers += sequence->target() - sequence->computed == 1 ? 1 : 0;
    all_have_deadlines = all_have_deadlines && sequence->request.deadline.has_value();
  }
  if (options_.scheduling == Scheduling::kDeadline && all_have_deadlines) {
    limits.stall = std::max(limits.stall, limits.most_stall);
  } else if (readers > 0) {
    const std::int64_t queued = std::ssize(running_) - readers + std::ssize(waiting_) - 1;
    const double fair = 1.0 + static_cast<double>(queued) / static_cast<double>(readers);
    limits.stall = std::max(limits.stall, std::min(fair, limits.most_stall));
  }
  return limits;
}

// If every step took so long of its own, beside what other engines get, all who run and have a deadline
// would just meet it. 0 while one of them still reads its prompt.
double Runner::longest_timely_step() const {
  double longest = kNever;
  for (const SequencePtr& sequence : running_) {
    if (!has_deadline(sequence->request)) {
      continue;
    }
    if (sequence->target() - sequence->computed > 1) {
      return 0.0;
    }
    longest = std::min(longest, seconds_until(sequence->request.deadline, options_.now()) /
                                    static_cast<double>(remaining_tokens(*sequence)));
  }
  return longest * options_.machine().share;
}

admission::Snapshot Runner::take_snapshot() {
  const Stopwatch watch(*this);
  const Clock::time_point now = options_.now();
  // A second of computing takes as much longer as others compute meanwhile.
  const double caution = (1.0 + times_.cost().error()) / options_.machine().share;
  admission::Snapshot snapshot;
  snapshot.cost = admission::planning_cost(times_.cost(), options_.limits.tokens, caution);
  const steps::StepLimits limits = step_limits();
  snapshot.prompt_share =
      limits.shared_seconds > 0.0 ? 0.5 : std::max(0.1, 1.0 - 1.0 / limits.stall);
  std::int64_t claimed = 0;  // blocks that the running ones are going to take
  for (const SequencePtr& sequence : running_) {
    snapshot.running.push_back(view_of(*sequence));
    claimed +=
        blocks_for(sequence->target() + remaining_tokens(*sequence)) - std::ssize(sequence->blocks);
  }
  snapshot.capacity.count = options_.max_sequences - std::ssize(running_);
  snapshot.capacity.memory_bytes = static_cast<double>(
      std::max<std::int64_t>(0, cache_->free_blocks() + prefixes_.evictable() - claimed));
  const double price =
      price_.per_second(admission::planning_cost(times_.cost(), options_.limits.tokens, 1.0), now);
  std::size_t looked_up = 0;
  const double free_share = promise_link();
  snapshot.capacity.downlink = free_share;
  for (const SequencePtr& sequence : waiting_) {
    if (!sequence->known_prefix.has_value() || looked_up < kLookedUp) {
      look_up_prefix(*sequence);
      ++looked_up;
    }
    snapshot.waiting.push_back(contender_of(*sequence, price, free_share));
  }
  const admission::ServingCost cost(snapshot.cost, snapshot.running, snapshot.prompt_share);
  for (std::size_t i = 0; i < waiting_.size(); ++i) {
    const double due_s = cost.due_s(snapshot.waiting[i].candidate);
    waiting_[i]->due =
        due_s < kNever ? now + duration_of(due_s) : waiting_[i]->submitted + kPatience;
  }
  return snapshot;
}

// Tells the link what those who run still need of it. What is left for others, 0 to 1.
double Runner::promise_link() {
  if (options_.link == nullptr) {
    return 1.0;
  }
  double need = 0.0;
  for (const SequencePtr& sequence : running_) {
    const admission::RunningView view = view_of(*sequence);
    if (view.send_s > 0.0) {
      need += options_.link->bytes_per_s() * view.send_s / std::max(view.send_by_s, kDelivery);
    }
  }
  options_.link->set_running_need(this, need);
  return options_.link->free_share();
}

// The paper's share of the link: the least that carries what is to be sent until it has to be there. Who has no deadline
// needs none: he can be sent later.
void Runner::plan_sending(const Sequence& sequence,
                          double free_share,
                          admission::Contender& contender) const {
  const Delivery& delivery = sequence.request.delivery;
  schedule::Candidate& candidate = contender.candidate;
  if (options_.link == nullptr || candidate.deadline_s == kNever || delivery.bytes(1) <= 0.0) {
    return;
  }
  const double rate = options_.link->bytes_per_s();
  const double seconds = delivery.bytes(candidate.output_tokens) / rate;
  contender.least_send_s = delivery.bytes(contender.least_output_tokens) / rate;
  contender.send_by_s = candidate.deadline_s;
  contender.least_tail_s = delivery.at_once ? contender.least_send_s : delivery.fixed_bytes / rate;
  contender.tail_s =
      delivery.at_once ? seconds / std::max(free_share, kLeastShare) : contender.least_tail_s;
  candidate.downlink = seconds / std::max(contender.send_by_s, kDelivery);
  candidate.deadline_s -= contender.tail_s;
}

admission::Load Runner::load() {
  return {.snapshot = take_snapshot(),
          .plain = admission::planning_cost(times_.cost(), options_.limits.tokens, 1.0),
          .usual_answer = lengths_.remaining(0, options_.context),
          .context = options_.context};
}

void Runner::look_up_prefix(Sequence& sequence) {
  const reuse::PrefixCache::Match match = find_prefix(sequence);
  sequence.known_prefix = match.tokens();
  sequence.known_reuse = reusable_tokens(sequence, match.tokens());
  release(match);
}

// By its priority, by how far its tenant is ahead of the others, and by how long it has waited, where
// no deadline ends that.
double Runner::worth_of(const Sequence& sequence) const {
  const Request& request = sequence.request;
  double exponent = request.priority - fair_.lead(request.tenant) / kStepOfLead;
  if (!has_deadline(request)) {
    exponent += seconds_between(sequence.submitted, options_.now()) / kStepOfPriority;
  }
  return sequence.value * std::exp2(std::clamp(exponent, -kMostExponent, kMostExponent));
}

// Who has no deadline keeps nobody out: he waits.
void Runner::appraise(const Sequence& sequence) {
  if (options_.scheduling == Scheduling::kDeadline && has_deadline(sequence.request)) {
    price_.observe({worth_of(sequence), sequence.prompt_tokens, remaining_tokens(sequence)},
                   options_.now());
  }
}

// `price`: of a second of the machine, which requests with a deadline have to be worth.
admission::Contender Runner::contender_of(const Sequence& sequence,
                                          double price,
                                          double free_share) const {
  const Request& request = sequence.request;
  const Clock::time_point now = options_.now();
  admission::Contender contender;
  contender.id = sequence.id;
  schedule::Candidate& candidate = contender.candidate;
  candidate.prompt_tokens = sequence.target();
  const std::int64_t known_prefix = sequence.known_prefix.value_or(0);
  candidate.cached_tokens = known_prefix + sequence.known_reuse;
  candidate.output_tokens = remaining_tokens(sequence);
  contender.least_output_tokens = least_remaining_tokens(sequence);
  candidate.deadline_s = seconds_until(request.deadline, now);
  if (!sequence.first_token.has_value()) {
    candidate.first_token_s = seconds_until(request.first_token_deadline, now);
  }
  plan_sending(sequence, free_share, contender);
  const std::int64_t new_blocks =
      blocks_for(sequence.target() + candidate.output_tokens) - known_prefix / kBlock;
  candidate.memory_bytes = static_cast<double>(new_blocks);

  candidate.value = worth_of(sequence);
  if (has_deadline(request)) {
    const schedule::StepCost cost =
        admission::planning_cost(times_.cost(), options_.limits.tokens, 1.0);
    candidate.value -= price * admission::MachinePrice::machine_seconds(
                                   cost, candidate.prompt_tokens - candidate.cached_tokens,
                                   candidate.output_tokens);
  } else {
    contender.overdue = seconds_between(sequence.submitted, now) > kOverdue;
  }
  return contender;
}

admission::RunningView Runner::view_of(const Sequence& sequence) const {
  admission::RunningView view;
  schedule::RunningSequence& running = view.sequence;
  const std::int64_t missing = sequence.missing();
  running.context_tokens = sequence.target();
  running.remaining_prompt_tokens = missing > 1 ? missing : 0;
  running.remaining_output_tokens = remaining_tokens(sequence);
  running.deadline_s = seconds_until(sequence.request.deadline, options_.now());
  if (!sequence.first_token.has_value()) {
    running.first_token_s = seconds_until(sequence.request.first_token_deadline, options_.now());
  }
  view.due_s = seconds_between(options_.now(), sequence.due);
  if (options_.link != nullptr && running.deadline_s < kNever) {
    view.send_by_s = running.deadline_s;
    view.send_s = sequence.request.delivery.bytes(running.remaining_output_tokens) /
                  options_.link->bytes_per_s();
  }
  return view;
}

void Runner::take_selection(const admission::Selection& selection) {
  const Stopwatch watch(*this);
  ++stats_.selections_total;
  stats_.selections_cut_total += selection.is_optimal ? 0 : 1;
  stats_.selection_gap_total += selection.upper_bound - selection.value;
  stats_.selection_seconds_total += selection.seconds;
  selected_.assign(selection.admitted.begin(), selection.admitted.end());
  for (const admission::Selection::Hopeless& hopeless : selection.hopeless) {
    const auto it = std::find_if(waiting_.begin(), waiting_.end(),
                                 [&](const SequencePtr& s) { return s->id == hopeless.id; });
    if (it == waiting_.end()) {
      continue;
    }
    const auto known = [&] { return (*it)->known_prefix.value_or(0) + (*it)->known_reuse; };
    const std::int64_t known_before = known();
    look_up_prefix(**it);
    if (known() > known_before) {
      changed_ = true;  // somebody has computed its beginning meanwhile: ask again
      continue;
    }
    refuse(**it, hopeless);
    waiting_.erase(it);
  }
}

void Runner::refuse(Sequence& sequence, const admission::Selection::Hopeless& why) {
  if (sequence.admitted.has_value()) {  // it gave up its memory, and now its time is up
    ++stats_.expired_running_total;
    finish(sequence, FinishReason::kError,
           time_is_up(sequence, "the deadline could no longer be met"));
    return;
  }
  Event event;
  if (why.by_link) {
    ++stats_.refused_link_total;
    event.error = Error{
        ErrorCode::kDeadlineUnreachable,
        fmt::format(
            "the link is too slow: with what is promised of it now this answer would be sent "
            "{:.1f} s too late for "
            "its deadline; it was not begun. Try again later, ask for less, or allow it more time",
            std::max(why.late_s, 0.1)),
        why.late_s};
    finish(sequence, FinishReason::kError, std::move(event));
    return;
  }
  ++stats_.refused_unreachable_total;
  event.error =
      Error{ErrorCode::kDeadlineUnreachable,
            fmt::format("with what is running now this request would be {:.1f} s too late for its "
                        "deadline; it was not begun. Try again later, or allow it more time",
                        std::max(why.late_s, 0.1)),
            why.late_s};
  finish(sequence, FinishReason::kError, std::move(event));
}

void Runner::admit_selected() {
  for (auto id = selected_.begin(); id != selected_.end();) {
    const auto it = std::find_if(waiting_.begin(), waiting_.end(),
                                 [&](const SequencePtr& s) { return s->id == *id; });
    if (it != waiting_.end()) {
      if (std::ssize(running_) >= options_.max_sequences) {
        return;
      }
      switch (try_admit(**it)) {
        case Admission::kNoMemory:
          return;
        case Admission::kSiblingFirst:
          ++id;
          continue;
        case Admission::kAdmitted:
          let_in(std::move(*it));
          waiting_.erase(it);
          changed_ = true;
      }
    }
    id = selected_.erase(id);
  }
}

// What its tenant pays for a sequence that is let in, or the correction when it ends.
void Runner::charge(Sequence& sequence, std::int64_t output_tokens) {
  const schedule::StepCost cost =
      admission::planning_cost(times_.cost(), options_.limits.tokens, 1.0);
  const std::int64_t reused = sequence.cached_tokens + sequence.approximate_tokens;
  const double seconds = cost.prompt_s(reused, sequence.prompt_tokens) +
                         static_cast<double>(output_tokens) * cost.row_s;
  const double weighted = seconds * std::exp2(sequence.request.priority);
  fair_.charge(sequence.request.tenant, weighted - sequence.charged_seconds,
               sequence.request.share);
  sequence.charged_seconds = weighted;
}

// The end of a sequence, for whoever learns from it or waits for its place.
void Runner::settle(Sequence& sequence, FinishReason reason) {
  changed_ = true;
  const Request& request = sequence.request;
  const bool is_complete = reason == FinishReason::kEnd || reason == FinishReason::kLength;
  if (sequence.admitted.has_value()) {
    charge(sequence, sequence.generated());
  }
  fair_.leave(request.tenant);
  if (is_complete && !request.ignore_eos && !request.embedding) {
    lengths_.observe(sequence.generated());
  }
  if (is_complete && has_deadline(request)) {
    ++stats_.deadlines_met_total;
  }
  log(LogLevel::kInfo,
      "{} {}: prompt {} (cached {}, approximate {}), answer {}, waited {:.3f} s of {:.3f} s",
      request.label.empty() ? fmt::format("request {}", sequence.id) : request.label,
      describe(reason), sequence.prompt_tokens, sequence.cached_tokens, sequence.approximate_tokens,
      sequence.generated(),
      seconds_between(sequence.submitted, sequence.admitted.value_or(options_.now())),
      seconds_between(sequence.submitted, options_.now()));
}

}  // namespace edgewise::engine
