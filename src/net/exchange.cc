#include "net/exchange.h"

#include <utility>

namespace edgewise::net {

bool Exchange::send(Response response) {
  const std::scoped_lock lock(mutex_);
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
  const std::scoped_lock lock(mutex_);
  if (!open_ || phase_ != Phase::kWaiting) {
    return false;
  }
  head_ = std::move(head);
  phase_ = Phase::kStreaming;
  wake();
  return true;
}

bool Exchange::write(std::string_view bytes) {
  const std::scoped_lock lock(mutex_);
  if (!open_ || phase_ != Phase::kStreaming) {
    return false;
  }
  if (queue_.size() + bytes.size() > max_queued_bytes_) {
    cut_ = true;
    open_ = false;
    wake();
    return false;
  }
  queue_.append(bytes);
  wake();
  return true;
}

void Exchange::end() {
  const std::scoped_lock lock(mutex_);
  if (phase_ == Phase::kStreaming) {
    phase_ = Phase::kEnded;
    wake();
  }
}

void Exchange::abort() {
  const std::scoped_lock lock(mutex_);
  if (open_ && phase_ != Phase::kEnded) {
    cut_ = true;
    open_ = false;
    wake();
  }
}

void Exchange::abandon() {
  Phase phase = Phase::kEnded;
  {
    const std::scoped_lock lock(mutex_);
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
    const std::scoped_lock lock(mutex_);
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
  const std::scoped_lock lock(mutex_);
  if (open_) {
    call_time_ = when;
    call_ = std::move(callback);
    wake();
  }
}

bool Exchange::is_open() const {
  const std::scoped_lock lock(mutex_);
  return open_;
}

bool Exchange::is_cut() const {
  const std::scoped_lock lock(mutex_);
  return cut_;
}

Exchange::Output Exchange::take() {
  const std::scoped_lock lock(mutex_);
  Output output;
  output.head = std::exchange(head_, std::nullopt);
  output.whole = whole_;
  output.bytes = std::exchange(queue_, {});
  output.finished = phase_ == Phase::kEnded;
  output.cut = cut_;
  return output;
}

std::optional<Exchange::Clock::time_point> Exchange::next_call() const {
  const std::scoped_lock lock(mutex_);
  return call_time_;
}

void Exchange::run_call() {
  std::function<void()> callback;
  {
    const std::scoped_lock lock(mutex_);
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
  {
    const std::scoped_lock lock(mutex_);
    notify_ = nullptr;
    open_ = false;
    call_time_.reset();
    call_ = nullptr;
    callback = std::exchange(on_disconnect_, nullptr);
  }
  if (callback) {
    callback();
  }
}

void Exchange::close() {
  std::function<void()>
      dropped[2];  // may own the last reference to a producer: destroyed outside the lock
  const std::scoped_lock lock(mutex_);
  notify_ = nullptr;
  open_ = false;
  phase_ = Phase::kEnded;
  call_time_.reset();
  dropped[0] = std::exchange(on_disconnect_, nullptr);
  dropped[1] = std::exchange(call_, nullptr);
}

}  // namespace edgewise::net
