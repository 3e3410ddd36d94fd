// The part of Runner that says how things stand: what the choice of who is let in is asked, and forecasts
// are made from.
#include <algorithm>

#include "admission/worth.h"
#include "engine/deadline.h"
#include "engine/runner.h"
#include "kernels/kernel_table.h"

namespace edgewise::engine {
namespace {

using schedule::kNever;

constexpr double kLeastShare = 0.1;  // of the link, that an answer sent at once is taken to have
constexpr double kOverdue = 30.0;    // seconds after which one without a deadline goes first
constexpr auto kPatience = std::chrono::seconds(10);  // of a prompt without a deadline
constexpr std::size_t kLookedUp = 8;                  // prefixes searched anew for a snapshot

}  // namespace

admission::Snapshot Runner::take_snapshot() {
  const Stopwatch watch(*this);
  const Clock::time_point now = options_.now();
  admission::Snapshot snapshot;
  snapshot.cost = cautious_cost();
  const steps::StepLimits limits = step_limits();
  snapshot.prompt_share =
      limits.shared_seconds > 0.0 ? 0.5 : std::max(0.1, 1.0 - 1.0 / limits.stall);
  std::int64_t claimed = 0;  // blocks that the running ones are going to take
  for (const SequencePtr& sequence : running_) {
    snapshot.running.push_back(view_of(*sequence));
    claimed += cache::blocks_for(sequence->target() + remaining_tokens(*sequence)) -
               std::ssize(sequence->blocks);
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

schedule::StepCost Runner::cautious_cost() const {
  // A second of computing takes as much longer as others compute meanwhile.
  const double caution = (1.0 + times_.cost().error()) / options_.machine().share;
  return admission::planning_cost(times_.cost(), options_.limits.tokens, caution);
}

std::optional<Clock::time_point> Runner::next_end() const {
  if (running_.empty()) {
    return std::nullopt;
  }
  std::vector<schedule::RunningSequence> running;
  for (const SequencePtr& sequence : running_) {
    running.push_back(view_of(*sequence).sequence);
  }
  const schedule::StepCostModel cost({cautious_cost()}, std::move(running));
  schedule::FinishTimes times;
  cost.finish_times({}, times);
  const schedule::Finish& first =
      *std::ranges::min_element(times.running, {}, &schedule::Finish::last_token_s);
  return options_.now() + duration_of(first.last_token_s);
}

admission::Load Runner::load() {
  return {.snapshot = take_snapshot(),
          .plain = admission::planning_cost(times_.cost(), options_.limits.tokens, 1.0),
          .usual_answer = lengths_.remaining(0, options_.context),
          .least_answer = lengths_.least_remaining(0, options_.context),
          .context = options_.context,
          .block_tokens = kernels::kKeyBlock};
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
double Runner::share_of_link(const Sequence& sequence) const {
  const double send_by_s = seconds_until(sequence.request.deadline, options_.now());
  if (options_.link == nullptr || send_by_s == kNever) {
    return 0.0;
  }
  return sequence.request.delivery.bytes(remaining_tokens(sequence)) /
         options_.link->bytes_per_s() / std::max(send_by_s, kDelivery);
}

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
  candidate.downlink = share_of_link(sequence);
  candidate.deadline_s -= contender.tail_s;
}

void Runner::look_up_prefix(Sequence& sequence) {
  const reuse::PrefixCache::Match match = find_prefix(sequence);
  sequence.known_prefix = match.tokens();
  sequence.known_reuse = reusable_tokens(sequence, match.tokens());
  release(match);
}

double Runner::worth_of(const Sequence& sequence) const {
  const Request& request = sequence.request;
  const double waited_s =
      has_deadline(request) ? 0.0 : seconds_between(sequence.submitted, options_.now());
  return sequence.value * admission::worth(request.priority, fair_.lead(request.tenant), waited_s);
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
  const std::int64_t new_blocks = cache::blocks_for(sequence.target() + candidate.output_tokens) -
                                  known_prefix / kernels::kKeyBlock;
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

}  // namespace edgewise::engine
