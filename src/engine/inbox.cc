#include "engine/inbox.h"

#include <algorithm>
#include <utility>

#include "engine/deadline.h"

namespace edgewise::engine {
namespace {

constexpr auto kLoadInterest = std::chrono::seconds(5);  // of who asked once

admission::Prospect prospect_of(const Sequence& sequence) {
  const Request& request = sequence.request;
  return {.prompt_tokens = sequence.prompt_tokens,
          .max_tokens = request.embedding ? 1 : request.max_tokens,
          .min_tokens = request.min_tokens,
          .ignore_eos = request.ignore_eos,
          .deadline = request.deadline,
          .first_token_deadline = request.first_token_deadline};
}

}  // namespace

Result<RequestId> Inbox::submit(std::unique_ptr<Sequence> sequence) {
  RequestId id = 0;
  {
    const MutexLock lock(mutex_);
    if (stop_) {
      return fail(ErrorCode::kUnavailable, "the engine is shutting down and takes no new requests");
    }
    const std::int64_t unfinished = taken_ + static_cast<std::int64_t>(sequences_.size());
    if (unfinished >= limit_) {
      ++refused_;
      return tl::unexpected(Error{
          .code = ErrorCode::kUnavailable,
          .message =
              fmt::format("{} requests are running or waiting, which is the limit; try again later",
                          unfinished),
          .retry_after_s =
              next_end_ ? std::max(0.0, seconds_between(Clock::now(), *next_end_)) : 0.0});
    }
    id = ++last_id_;
    sequence->id = id;
    sequence->submitted = Clock::now();
    sequences_.push_back(std::move(sequence));
  }
  arrived_.notify_one();
  return id;
}

void Inbox::cancel(RequestId id) {
  {
    const MutexLock lock(mutex_);
    cancelled_.push_back(id);
  }
  arrived_.notify_one();
}

void Inbox::wake() {
  {
    const MutexLock lock(mutex_);
    woken_ = true;
  }
  arrived_.notify_one();
}

void Inbox::stop() {
  {
    const MutexLock lock(mutex_);
    stop_ = true;
  }
  arrived_.notify_one();
}

EngineStats Inbox::stats() const {
  const MutexLock lock(mutex_);
  EngineStats now = stats_;
  const auto queued = static_cast<std::int64_t>(sequences_.size());
  now.waiting += queued;
  now.requests_total += queued;
  now.refused_full_total = refused_;
  return now;
}

Inbox::Mail Inbox::take(bool idle, Clock::time_point latest) {
  MutexLock lock(mutex_);
  if (idle) {
    bool is_early = true;
    while (is_early && !stop_ && !woken_ && sequences_.empty() && cancelled_.empty()) {
      is_early = arrived_.wait_until(lock, latest);
    }
  }
  woken_ = false;
  Mail mail;
  mail.sequences = std::exchange(sequences_, {});
  mail.cancelled = std::exchange(cancelled_, {});
  mail.stop = stop_;
  taken_ += static_cast<std::int64_t>(mail.sequences.size());
  stats_.waiting += static_cast<std::int64_t>(mail.sequences.size());
  stats_.requests_total += static_cast<std::int64_t>(mail.sequences.size());
  return mail;
}

void Inbox::report(const EngineStats& stats,
                   std::int64_t unfinished,
                   std::optional<Clock::time_point> next_end) {
  const MutexLock lock(mutex_);
  stats_ = stats;
  taken_ = unfinished;
  next_end_ = next_end;
}

void Inbox::report_load(admission::Load load) {
  const MutexLock lock(mutex_);
  load_ = std::move(load);
}

bool Inbox::wants_load() const {
  const MutexLock lock(mutex_);
  return keeps_load_ || Clock::now() < load_wanted_until_;
}

std::optional<admission::Load> Inbox::load() {
  const Clock::time_point now = Clock::now();
  const MutexLock lock(mutex_);
  const bool is_fresh = keeps_load_ || now < load_wanted_until_;
  load_wanted_until_ = now + kLoadInterest;
  if (!is_fresh) {
    load_.reset();
    woken_ = true;
    arrived_.notify_one();
  }
  std::optional<admission::Load> load = load_;
  for (const auto& sequence : sequences_) {
    if (load.has_value()) {
      admission::Contender contender;
      contender.candidate = admission::candidate_of(prospect_of(*sequence), *load, now);
      load->snapshot.waiting.push_back(contender);
    }
  }
  return load;
}

}  // namespace edgewise::engine
