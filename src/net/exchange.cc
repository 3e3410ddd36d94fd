#include "net/exchange.h"

#include <utility>

namespace edgewise::net {

bool Exchange::send(Response response) {
  const MutexLock lock(mutex_);
  if (!open_ || phase_ != Phase::kWaiting) {
    return false;
  }
  head_ = std::move(response);
  whole_ = true;
  phase_ = Phase::kEnded;
  wake();
  return true;
}

bool Exchange::begin(Response head) {
  const MutexLock lock(mutex_);
  if (!open_ || phase_ != Phase::kWaiting) {
    return false;
  }
  head_ = std::move(head);
  phase_ = Phase::kStreaming;
  wake();
  return true;
}

bool Exchange::write(std::string_view bytes) {
  const MutexLock lock(mutex_);
  if (!open_ || phase_ != Phase::kStreaming) {
    return false;
  }
  if (!has_room(bytes.size())) {
    return false;
  }
  queue_.append(bytes);
  wake();
  return true;
}

// Cuts the connection where there is none.
bool Exchange::has_room(std::size_t bytes) {
  if (queue_.size() + offered_bytes_ + bytes <= max_queued_bytes_) {
    return true;
  }
  cut_ = true;
  open_ = false;
  wake();
  return false;
}

void Exchange::set_terms(LinkTerms terms) {
  const MutexLock lock(mutex_);
  terms_ = std::move(terms);
}

void Exchange::set_source(std::function<std::string()> source) {
  const MutexLock lock(mutex_);
  if (open_) {
    source_ = std::move(source);
  }
}

bool Exchange::offer(std::size_t bytes) {
  const MutexLock lock(mutex_);
  if (!open_ || phase_ != Phase::kStreaming || !has_room(bytes)) {
    return false;
  }
  offered_bytes_ += bytes;
  wake();
  return true;
}

void Exchange::end() {
  const MutexLock lock(mutex_);
  if (phase_ == Phase::kStreaming) {
    phase_ = Phase::kEnded;
    wake();
  }
}

void Exchange::abort() {
  const MutexLock lock(mutex_);
  if (open_ && phase_ != Phase::kEnded) {
    cut_ = true;
    open_ = false;
    wake();
  }
}

void Exchange::abandon() {
  Phase phase = Phase::kEnded;
  {
    const MutexLock lock(mutex_);
    phase = phase_;
  }
  if (phase == Phase::kWaiting) {
    send({.status = 500, .content_type = "", .headers = {}, .body = {}});
  } else if (phase == Phase::kStreaming) {
    abort();
  }
}

void Exchange::on_disconnect(std::function<void()> callback) {
  {
    const MutexLock lock(mutex_);
    if (open_) {
      on_disconnect_ = std::move(callback);
      return;
    }
    if (phase_ == Phase::kEnded) {
      return;
    }
  }
  callback();
}

void Exchange::call_at(Clock::time_point when, std::function<void()> callback) {
  const MutexLock lock(mutex_);
  if (open_) {
    call_time_ = when;
    call_ = std::move(callback);
    wake();
  }
}

void Exchange::on_sent(std::function<void(Clock::duration)> callback) {
  const MutexLock lock(mutex_);
  if (open_) {
    on_sent_ = std::move(callback);
  }
}

void Exchange::begin_wait() {
  const MutexLock lock(mutex_);
  wait_begun_ = Clock::now();
}

void Exchange::end_wait() {
  const MutexLock lock(mutex_);
  waited_ = waited();
  wait_begun_.reset();
}

Exchange::Clock::duration Exchange::waited() const {
  return wait_begun_ ? waited_ + (Clock::now() - *wait_begun_) : waited_;
}

bool Exchange::is_open() const {
  const MutexLock lock(mutex_);
  return open_;
}

bool Exchange::is_cut() const {
  const MutexLock lock(mutex_);
  return cut_;
}

Exchange::Output Exchange::take() {
  std::function<std::string()> source;
  Output output;
  {
    const MutexLock lock(mutex_);
    output.head = std::exchange(head_, std::nullopt);
    output.whole = whole_;
    output.bytes = std::exchange(queue_, {});
    output.finished = phase_ == Phase::kEnded;
    output.cut = cut_;
    if (std::exchange(offered_bytes_, 0) > 0) {
      source = source_;
    }
  }
  if (source) {
    output.bytes += source();
  }
  return output;
}

bool Exchange::has_output() const {
  const MutexLock lock(mutex_);
  return head_.has_value() || !queue_.empty() || offered_bytes_ > 0 || cut_ ||
         phase_ == Phase::kEnded;
}

std::size_t Exchange::waiting_bytes() const {
  const MutexLock lock(mutex_);
  return (head_ ? head_->body.size() : 0) + queue_.size() + offered_bytes_;
}

std::optional<LinkTerms> Exchange::take_terms() {
  const MutexLock lock(mutex_);
  return std::exchange(terms_, std::nullopt);
}

std::optional<Exchange::Clock::time_point> Exchange::next_call() const {
  const MutexLock lock(mutex_);
  return call_time_;
}

void Exchange::run_call() {
  std::function<void()> callback;
  {
    const MutexLock lock(mutex_);
    callback = std::exchange(call_, nullptr);
    call_time_.reset();
    if (!open_ || phase_ == Phase::kEnded) {
      callback = nullptr;
    }
  }
  if (callback) {
    callback();
  }
}

void Exchange::disconnect() {
  std::function<void()> callback;
  std::function<void(Clock::duration)> sent;
  std::function<std::string()> source;  // dropped outside the lock
  Clock::duration waited{};
  {
    const MutexLock lock(mutex_);
    source = std::exchange(source_, nullptr);
    notify_ = nullptr;
    open_ = false;
    call_time_.reset();
    call_ = nullptr;
    callback = std::exchange(on_disconnect_, nullptr);
    sent = std::exchange(on_sent_, nullptr);
    waited = this->waited();
  }
  if (callback) {
    callback();
  }
  if (sent) {
    sent(waited);
  }
}

void Exchange::close() {
  std::function<void()>
      dropped[2];  // may own the last reference to a producer: destroyed outside the lock
  std::function<std::string()> source;
  std::function<void(Clock::duration)> sent;
  Clock::duration waited{};
  {
    const MutexLock lock(mutex_);
    notify_ = nullptr;
    open_ = false;
    phase_ = Phase::kEnded;
    call_time_.reset();
    dropped[0] = std::exchange(on_disconnect_, nullptr);
    dropped[1] = std::exchange(call_, nullptr);
    source = std::exchange(source_, nullptr);
    sent = std::exchange(on_sent_, nullptr);
    waited = this->waited();
  }
  if (sent) {
    sent(waited);
  }
}

}  // namespace edgewise::net
