#include "api/key_limits.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <optional>

#include "base/mutex.h"
#include "base/seconds.h"

namespace edgewise::api {
namespace {

// A token bucket (RFC 2697's idea): fills evenly, holds one minute's worth.
class Bucket {
 public:
  Bucket(std::int64_t per_minute, KeyLimits::Clock::time_point now)
      : per_minute_(static_cast<double>(per_minute)), level_(per_minute_), filled_(now) {}

  // Seconds until `amount` is there; 0: now.
  double wait_for(double amount, KeyLimits::Clock::time_point now) {
    const double seconds = seconds_between(filled_, now);
    filled_ = now;
    level_ = std::min(per_minute_, level_ + seconds * per_minute_ / 60.0);
    return std::max(0.0, (amount - level_) * 60.0 / per_minute_);
  }

  void take(double amount) { level_ -= amount; }

 private:
  double per_minute_;
  double level_;
  KeyLimits::Clock::time_point filled_;
};

ApiError too_many(std::string message, std::string code, double retry_after_s) {
  return {.status = 429,
          .message = std::move(message),
          .code = std::move(code),
          .retry_after_s = retry_after_s};
}

}  // namespace

struct KeyLimits::State {
  struct Key {
    KeyPolicy policy;
    std::optional<Bucket> requests;
    std::optional<Bucket> tokens;
    std::int64_t running = 0;
  };

  std::function<Clock::time_point()> now;
  Mutex mutex;
  std::vector<Key> keys EDGEWISE_GUARDED_BY(mutex);
};

class KeyLimits::Ticket::Leave {
 public:
  Leave(std::shared_ptr<State> state, std::size_t key) : state_(std::move(state)), key_(key) {}

  Leave(const Leave&) = delete;
  Leave& operator=(const Leave&) = delete;

  ~Leave() {
    const MutexLock lock(state_->mutex);
    --state_->keys[key_].running;
  }

  void charge(std::int64_t tokens) {
    const MutexLock lock(state_->mutex);
    if (auto& bucket = state_->keys[key_].tokens) {
      bucket->take(static_cast<double>(tokens));
    }
  }

 private:
  std::shared_ptr<State> state_;
  std::size_t key_;
};

KeyLimits::KeyLimits(const ApiKeys& keys, std::function<Clock::time_point()> now)
    : state_(std::make_shared<State>()) {
  state_->now = std::move(now);
  const Clock::time_point start = state_->now();
  for (std::size_t i = 0; i < keys.size(); ++i) {
    State::Key& key = state_->keys.emplace_back();
    key.policy = keys.policy(i);
    if (key.policy.requests_per_minute > 0) {
      key.requests.emplace(key.policy.requests_per_minute, start);
    }
    if (key.policy.tokens_per_minute > 0) {
      key.tokens.emplace(key.policy.tokens_per_minute, start);
    }
  }
}

KeyLimits::~KeyLimits() = default;

void KeyLimits::Ticket::charge(std::int64_t tokens) {
  if (leave_) {
    leave_->charge(tokens);
  }
}

tl::expected<KeyLimits::Ticket, ApiError> KeyLimits::enter(std::size_t key) {
  const MutexLock lock(state_->mutex);
  State::Key& its = state_->keys[key];
  const KeyPolicy& policy = its.policy;
  const Clock::time_point now = state_->now();
  if (policy.concurrent > 0 && its.running >= policy.concurrent) {
    return tl::unexpected(too_many(
        fmt::format("This API key may have {} requests at once, and has them.", policy.concurrent),
        "concurrency_limit_exceeded", 1.0));
  }
  if (its.tokens) {
    if (const double wait = its.tokens->wait_for(1.0, now); wait > 0.0) {
      return tl::unexpected(too_many(
          fmt::format("This API key may use {} tokens a minute, and has used them; there are some "
                      "again in {:.0f} s.",
                      policy.tokens_per_minute, std::ceil(wait)),
          "tokens_per_minute_exceeded", wait));
    }
  }
  if (its.requests) {
    if (const double wait = its.requests->wait_for(1.0, now); wait > 0.0) {
      return tl::unexpected(too_many(
          fmt::format("This API key may send {} requests a minute, and has; the next in {:.0f} s.",
                      policy.requests_per_minute, std::ceil(wait)),
          "requests_per_minute_exceeded", wait));
    }
    its.requests->take(1.0);
  }
  ++its.running;
  Ticket ticket;
  ticket.leave_ = std::make_shared<Ticket::Leave>(state_, key);
  return ticket;
}

}  // namespace edgewise::api
