// The part of Runner that keeps time: how long answers may still take, how long steps, and the end of
// those who are late or would be.
#include <algorithm>

#include "engine/deadline.h"
#include "engine/runner.h"

namespace edgewise::engine {
namespace {

using schedule::kNever;

constexpr double kSharedStep = 0.1;  // seconds of a prompt's step while other engines wait for it

bool is_past(const std::optional<Clock::time_point>& time, Clock::time_point now) {
  return time.has_value() && *time <= now;
}

Event time_is_up(const Sequence& sequence, std::string why) {
  Event event;
  event.error = Error{
      ErrorCode::kDeadlineExceeded,
      fmt::format("{} after {} of its tokens; the work was stopped", why, sequence.generated())};
  return event;
}

struct Circumstances {
  bool is_alone = false;
  double waited_s = 0.0;
};

// Time counts from a request's arrival: who asks again gets back what he waited.
Error refusal(const admission::Selection::Hopeless& why, const Circumstances& circumstances) {
  const bool is_in_vain = circumstances.is_alone && why.late_s > circumstances.waited_s;
  const char* given = is_in_vain               ? "even alone"
                      : why.by_link            ? "with what is promised of it now"
                      : circumstances.is_alone ? "after waiting so long"
                                               : "with what is running now";
  return {ErrorCode::kDeadlineUnreachable,
          fmt::format("{}{} this {} {:.1f} s too late for its deadline; it was not begun. {}",
                      why.by_link ? "the link is too slow: " : "", given,
                      why.by_link ? "answer would be sent" : "request would be",
                      std::max(why.late_s, 0.1),
                      is_in_vain ? "Ask for less, or allow it more time"
                                 : "Try again later, ask for less, or allow it more time"),
          is_in_vain ? kNever : why.late_s};
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
  std::erase_if(looking_, [&](const SequencePtr& sequence) {
    if (!end(sequence)) {
      return false;
    }
    pages_->forget(sequence->id);
    return true;
  });
  std::erase_if(waiting_, end);
  std::erase_if(running_, end);
}

void Runner::refuse(Sequence& sequence,
                    const admission::Selection::Hopeless& why,
                    bool nothing_ran) {
  if (sequence.admitted.has_value()) {  // it gave up its memory, and now its time is up
    ++stats_.expired_running_total;
    finish(sequence, FinishReason::kError,
           time_is_up(sequence, "the deadline could no longer be met"));
    return;
  }
  ++(why.by_link ? stats_.refused_link_total : stats_.refused_unreachable_total);
  Event event;
  event.error = refusal(why, {.is_alone = nothing_ran && !options_.machine().is_shared,
                              .waited_s = seconds_between(sequence.submitted, options_.now())});
  finish(sequence, FinishReason::kError, std::move(event));
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

}  // namespace edgewise::engine
