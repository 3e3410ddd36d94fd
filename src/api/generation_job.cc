#include "api/generation_job.h"

#include <utility>

#include "api/json_parts.h"

namespace edgewise::api {
namespace {

// About what a delta adds to an event.
std::size_t size_of(const chat::Delta& delta) {
  constexpr std::size_t kTokenEntry = 100;  // of log-probabilities
  std::size_t bytes = 1 + delta.content.size() + delta.reasoning.size();
  for (const chat::ToolCallDelta& call : delta.tool_calls) {
    bytes += call.id.size() + call.name.size() + call.arguments.size();
  }
  for (const chat::TokenLogprobs& token : delta.logprobs) {
    bytes += kTokenEntry * (1 + token.alternatives.size());
  }
  return bytes;
}

}  // namespace

double event_bytes(ReplyFormat& format) {
  return static_cast<double>(Reply::event_text(format.delta(0, {})).size());
}

GenerationJob::GenerationJob(std::shared_ptr<Backend> backend,
                             Reply reply,
                             std::unique_ptr<ReplyFormat> format,
                             JobOptions options)
    : backend_(std::move(backend)),
      format_(std::move(format)),
      options_(std::move(options)),
      event_bytes_(options_.sizes != nullptr && options_.stream ? event_bytes(*format_) : 0.0),
      reply_(std::move(reply)),
      trace_(reply_.trace()),
      metrics_(reply_.metrics().of(backend_->card().id)),
      remaining_(options_.choices),
      choices_(static_cast<std::size_t>(options_.choices)) {
  trace_.set_model(backend_->card().id);
}

void GenerationJob::run(std::shared_ptr<Backend> backend,
                        Reply reply,
                        std::unique_ptr<ReplyFormat> format,
                        JobOptions options,
                        const Starter& start) {
  const net::Responder responder = reply.responder();
  const Clock::time_point arrived = reply.arrived();
  const std::shared_ptr<GenerationJob> job(new GenerationJob(
      std::move(backend), std::move(reply), std::move(format), std::move(options)));
  job->watch(responder, arrived);
  job->start_all(start);
}

void GenerationJob::watch(const net::Responder& responder, Clock::time_point arrived) {
  responder.on_disconnect([weak = weak_from_this()] {
    if (const auto job = weak.lock()) {
      job->client_gone();
    }
  });
  if (responder.is_paced()) {
    responder.set_terms(options_.link);
    responder.set_source([weak = weak_from_this()] {
      const auto job = weak.lock();
      return job ? job->take_held() : std::string();
    });
  }
  if (options_.deadline) {
    responder.call_at(arrived + *options_.deadline, [weak = weak_from_this()] {
      if (const auto job = weak.lock()) {
        job->fail({.status = 504,
                   .message = "The deadline (deadline_ms) passed before the answer was complete; "
                              "the work was stopped.",
                   .param = "deadline_ms",
                   .code = "deadline_exceeded"});
      }
    });
  }
}

void GenerationJob::start_all(const Starter& start) {
  for (int i = 0; i < options_.choices; ++i) {
    const auto self = shared_from_this();
    chat::Sink sink{
        .on_delta = [self, i](const chat::Delta& delta) { return self->on_delta(i, delta); },
        .on_done = [self, i](const chat::Outcome& outcome) { self->on_done(i, outcome); }};
    auto id = start(i, std::move(sink));
    if (!id) {
      fail(to_api_error(id.error()));
      return;
    }
    bool is_late = false;
    {
      const MutexLock lock(mutex_);
      ids_.push_back(*id);
      is_late = stopped_;
    }
    if (is_late) {
      backend_->cancel(*id);
      return;
    }
  }
}

bool GenerationJob::open_choice(int index) {
  Choice& choice = choices_[static_cast<std::size_t>(index)];
  if (std::exchange(choice.is_open, true)) {
    return true;
  }
  const std::string opening = format_->opening(index);
  return opening.empty() || reply_.event(opening);
}

void GenerationJob::observe_token(Choice& choice) {
  const auto now = Clock::now();
  if (choice.last_token) {
    metrics_.observe_next_token(std::chrono::duration<double>(now - *choice.last_token).count());
  } else {
    metrics_.observe_first_token(reply_.seconds());
  }
  choice.last_token = now;
}

bool GenerationJob::on_delta(int index, const chat::Delta& delta) {
  {
    const MutexLock lock(mutex_);
    if (stopped_) {
      return false;
    }
    Choice& choice = choices_[static_cast<std::size_t>(index)];
    observe_token(choice);
    if (!options_.stream) {
      choice.folded.add(delta);
      return true;
    }
    if (reply_.responder().is_paced()
            ? hold(choice, delta)
            : open_choice(index) && reply_.event(format_->delta(index, delta))) {
      return true;
    }
  }
  client_gone();
  return false;
}

bool GenerationJob::hold(Choice& choice, const chat::Delta& delta) {
  choice.held.add(delta);
  ++choice.held_deltas;
  return reply_.offer(size_of(delta));
}

// The events of what is held, as they are to be sent.
std::string GenerationJob::take_held(int index) {
  Choice& choice = choices_[static_cast<std::size_t>(index)];
  if (choice.held_deltas == 0) {
    return {};
  }
  std::string text;
  if (!std::exchange(choice.is_open, true)) {
    const std::string opening = format_->opening(index);
    text = opening.empty() ? "" : Reply::event_text(opening);
  }
  const std::size_t before = text.size();
  text += Reply::event_text(format_->delta(index, std::exchange(choice.held, {}).total));
  choice.told_bytes += static_cast<double>(text.size() - before) - event_bytes_;
  metrics_.count_merged(std::exchange(choice.held_deltas, 0) - 1);
  return text;
}

std::string GenerationJob::take_all_held() {
  std::string text;
  for (int i = 0; i < options_.choices; ++i) {
    text += take_held(i);
  }
  return text;
}

// The connection's turn has come.
std::string GenerationJob::take_held() {
  const MutexLock lock(mutex_);
  return take_all_held();
}

void GenerationJob::on_done(int index, const chat::Outcome& outcome) {
  const engine::Usage& used = outcome.usage;
  options_.ticket.charge(used.prompt_tokens - used.cached_tokens - used.approximate_tokens +
                         used.completion_tokens);
  const bool has_failed =
      outcome.finish == chat::Finish::kError || outcome.finish == chat::Finish::kCancelled;
  trace_.add_answer(used, has_failed ? "" : finish_name(outcome.finish),
                    index % options_.choices_per_prompt == 0);
  if (has_failed) {
    const Error cancelled{ErrorCode::kUnavailable, "The request was cancelled by the server."};
    fail(to_api_error(outcome.error.value_or(cancelled)));
    return;
  }
  const MutexLock lock(mutex_);
  if (stopped_) {
    return;
  }
  Choice& choice = choices_[static_cast<std::size_t>(index)];
  choice.folded.finish = outcome.finish;
  choice.usage = outcome.usage;
  metrics_.count_usage(outcome.usage);
  metrics_.count_finish(finish_name(outcome.finish), reply_.seconds());
  if (options_.stream) {
    if (const std::string held = take_held(index); !held.empty()) {
      reply_.write_events(held);
    }
    open_choice(index);
    reply_.event(format_->finish(index, outcome.finish));
  }
  if (--remaining_ == 0) {
    complete();
  }
}

void GenerationJob::observe_sizes() {
  for (const Choice& choice : choices_) {
    options_.sizes->observe(options_.kind, choice.usage.completion_tokens, choice.told_bytes);
  }
}

void GenerationJob::complete() {
  stopped_ = true;
  options_.ticket = {};  // before the reply: whoever has read it may ask again
  if (!options_.stream) {
    std::vector<FoldedChoice> folded;
    for (Choice& choice : choices_) {
      folded.push_back(std::move(choice.folded));
    }
    std::string body = format_->body(folded, totals());
    if (options_.sizes != nullptr) {
      const std::string frame = format_->body(std::vector<FoldedChoice>(folded.size()), totals());
      options_.sizes->observe(options_.kind, totals().completion_tokens,
                              static_cast<double>(body.size()) - static_cast<double>(frame.size()));
    }
    reply_.send_json(std::move(body));
    return;
  }
  if (options_.sizes != nullptr) {
    observe_sizes();
  }
  if (options_.stream_usage) {
    reply_.event(format_->usage(totals()));
  }
  reply_.end_events();
}

UsageTotals GenerationJob::totals() const {
  UsageTotals totals;
  totals.moved_parts = options_.moved_parts;
  for (std::size_t i = 0; i < choices_.size(); ++i) {
    const engine::Usage& usage = choices_[i].usage;
    if (i % static_cast<std::size_t>(options_.choices_per_prompt) == 0) {
      totals.prompt_tokens += usage.prompt_tokens;
      totals.cached_tokens += usage.cached_tokens;
      totals.approximate_tokens += usage.approximate_tokens;
    }
    totals.completion_tokens += usage.completion_tokens;
  }
  return totals;
}

void GenerationJob::fail(const ApiError& error) {
  {
    const MutexLock lock(mutex_);
    if (std::exchange(stopped_, true)) {
      return;
    }
    if (reply_.responder().is_paced()) {
      net::LinkTerms terms = options_.link;
      terms.deadline.reset();  // it has passed, or does not matter any more
      reply_.responder().set_terms(std::move(terms));
    }
    if (const std::string held = take_all_held(); !held.empty()) {
      reply_.write_events(held);
    }
    reply_.has_events() ? reply_.fail_events(error) : reply_.send_error(error);
  }
  cancel_all();
}

void GenerationJob::client_gone() {
  {
    const MutexLock lock(mutex_);
    if (std::exchange(stopped_, true)) {
      return;
    }
    reply_.count_gone();
  }
  cancel_all();
}

void GenerationJob::cancel_all() {
  std::vector<RequestId> ids;
  {
    const MutexLock lock(mutex_);
    ids = ids_;
  }
  for (const RequestId id : ids) {
    backend_->cancel(id);
  }
}

}  // namespace edgewise::api
