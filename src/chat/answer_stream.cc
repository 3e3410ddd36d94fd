#include "chat/answer_stream.h"

#include <algorithm>
#include <utility>

namespace edgewise::chat {
namespace {

using engine::Reply;

bool is_empty(const Delta& delta) {
  return delta.content.empty() && delta.reasoning.empty() && delta.tool_calls.empty() &&
         delta.logprobs.empty();
}

}  // namespace

AnswerStream::AnswerStream(const text::Tokenizer& tokenizer, AnswerSetup setup, Sink sink)
    : tokenizer_(tokenizer),
      setup_(std::move(setup)),
      sink_(std::move(sink)),
      decoder_(tokenizer, /*with_special=*/false, setup_.continues_text),
      stops_(setup_.stop) {
  if (setup_.reasoning.has_value()) {
    reasoning_.emplace(*setup_.reasoning, setup_.reasoning_opened);
  }
  if (setup_.tools.has_value()) {
    calls_.emplace(*setup_.tools);
    Delta nothing;  // a marker alone shows nothing yet
    calls_->push(setup_.opener, nothing);
  }
}

Reply AnswerStream::on_event(engine::Event event) {
  if (event.finish.has_value()) {
    on_finish(std::move(event));
    return Reply::kComplete;
  }
  return event.draw.has_value() ? on_token(*event.draw) : Reply::kGoOn;
}

Reply AnswerStream::on_token(const sampling::Draw& draw) {
  const std::size_t begin = decoded_bytes_;
  const std::string text = text_of(draw.token);
  decoded_bytes_ += text.size();
  if (setup_.logprobs) {
    logprobs_.push_back({describe(draw), begin, decoded_bytes_});
  }
  Delta delta;
  take_text(stops_.push(text), delta);
  take_logprobs(/*all=*/false, delta);
  if (!deliver(delta)) {
    return Reply::kGone;
  }
  const bool enough_calls =
      setup_.one_call_only && calls_.has_value() && calls_->complete_calls() > 0;
  return stops_.matched().has_value() || enough_calls ? Reply::kComplete : Reply::kGoOn;
}

std::string AnswerStream::text_of(TokenId token) {
  if (tokenizer_.is_control(token)) {
    const std::string_view name = tokenizer_.token_text(token);
    if (std::find(setup_.shown_tokens.begin(), setup_.shown_tokens.end(), name) !=
        setup_.shown_tokens.end()) {
      return decoder_.finish() + std::string(name);
    }
  }
  return decoder_.push(token);
}

void AnswerStream::take_text(std::string_view text, Delta& delta) {
  released_bytes_ += text.size();
  if (!reasoning_.has_value()) {
    take_content(text, delta);
    return;
  }
  std::string content;
  reasoning_->push(text, delta.reasoning, content);
  take_content(content, delta);
}

void AnswerStream::take_content(std::string_view text, Delta& delta) {
  if (calls_.has_value()) {
    calls_->push(text, delta);
  } else {
    delta.content += text;
  }
}

// After a stop string, the tokens that lie wholly behind the cut are not part of the answer.
void AnswerStream::take_logprobs(bool all, Delta& delta) {
  while (!logprobs_.empty()) {
    WaitingLogprobs& next = logprobs_.front();
    const bool out = next.end <= released_bytes_ ||
                     (stops_.matched().has_value() && next.begin < released_bytes_);
    if (!all && !out) {
      return;
    }
    delta.logprobs.push_back(std::move(next.logprobs));
    logprobs_.pop_front();
  }
}

void AnswerStream::on_finish(engine::Event event) {
  Delta delta;
  if (!stops_.matched().has_value()) {
    std::string text = stops_.push(decoder_.finish());
    if (!stops_.matched().has_value()) {
      text += stops_.finish();
    }
    take_text(text, delta);
  }
  if (reasoning_.has_value()) {
    std::string content;
    reasoning_->finish(delta.reasoning, content);
    take_content(content, delta);
  }
  if (calls_.has_value()) {
    calls_->finish(delta);
  }
  take_logprobs(/*all=*/!stops_.matched().has_value(), delta);
  deliver(delta);
  Outcome outcome;
  outcome.finish = finish_of(*event.finish);
  outcome.stop_string = stops_.matched();
  outcome.error = std::move(event.error);
  outcome.usage = event.usage;
  if (sink_.on_done) {
    sink_.on_done(outcome);
  }
}

bool AnswerStream::deliver(const Delta& delta) {
  if (!reader_left_ && !is_empty(delta) && sink_.on_delta) {
    reader_left_ = !sink_.on_delta(delta);
  }
  return !reader_left_;
}

Finish AnswerStream::finish_of(engine::FinishReason reason) const {
  const Finish natural =
      calls_.has_value() && calls_->saw_call() ? Finish::kToolCalls : Finish::kStop;
  switch (reason) {
    case engine::FinishReason::kEnd:
    case engine::FinishReason::kStopped:
      return natural;
    case engine::FinishReason::kLength:
      return Finish::kLength;
    case engine::FinishReason::kCancelled:
      return Finish::kCancelled;
    case engine::FinishReason::kError:
      return Finish::kError;
  }
  return Finish::kError;
}

TokenLogprobs AnswerStream::describe(const sampling::Draw& draw) const {
  TokenLogprobs out;
  out.chosen = describe(draw.token, draw.logprob);
  for (const sampling::TokenLogprob& other : draw.alternatives) {
    out.alternatives.push_back(describe(other.token, other.logprob));
  }
  return out;
}

TokenText AnswerStream::describe(TokenId token, float logprob) const {
  TokenText out;
  out.token = token;
  out.logprob = logprob;
  tokenizer_.append_bytes(token, /*with_special=*/true, out.bytes);
  return out;
}

}  // namespace edgewise::chat
