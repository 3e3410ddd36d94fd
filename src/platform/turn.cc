#include "platform/turn.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "base/check.h"
#include "base/seconds.h"

namespace edgewise::platform {
namespace {

constexpr double kMemory = 1.0;   // seconds that recent use is averaged over
constexpr double kHardly = 0.01;  // of the machine: as good as nothing

}  // namespace

Turn::Seat::Seat(Turn& turn) : turn_(turn) {
  const MutexLock lock(turn_.mutex_);
  settled_ = turn_.now_();
  turn_.seats_.push_back(this);
}

Turn::Seat::~Seat() {
  leave();
  const MutexLock lock(turn_.mutex_);
  std::erase(turn_.seats_, this);
}

void Turn::Seat::take() {
  MutexLock lock(turn_.mutex_);
  const Clock::time_point begin = turn_.now_();
  if (turn_.holder_ == this) {
    turn_.settle(*this, begin);
    Seat* next = turn_.least_served();
    if (next == nullptr || next->used_s_ >= used_s_) {
      turn_.virtual_s_ = used_s_;
      return;
    }
    turn_.grant(*next, begin);
  } else {
    used_s_ = std::max(used_s_, turn_.virtual_s_);
    if (turn_.holder_ == nullptr) {
      turn_.grant(*this, begin);
      return;
    }
  }
  is_waiting_ = true;
  while (turn_.holder_ != this) {
    granted_.wait(lock);
  }
  waited_s_ += seconds_between(begin, turn_.now_());
}

void Turn::Seat::leave() {
  const MutexLock lock(turn_.mutex_);
  if (turn_.holder_ != this) {
    return;
  }
  const Clock::time_point now = turn_.now_();
  turn_.settle(*this, now);
  if (Seat* next = turn_.least_served()) {
    turn_.grant(*next, now);
  } else {
    turn_.holder_ = nullptr;
    turn_.virtual_s_ = std::max(turn_.virtual_s_, used_s_);
  }
}

// What the others ask for is what they had lately; each gets that, or an equal part of what is left.
Turn::Outlook Turn::Seat::outlook() const {
  const MutexLock lock(turn_.mutex_);
  const Clock::time_point now = turn_.now_();
  Outlook outlook;
  std::vector<double> others;
  for (const Seat* seat : turn_.seats_) {
    if (seat == this) {
      continue;
    }
    others.push_back(turn_.recent(*seat, now));
    outlook.is_shared =
        outlook.is_shared || seat->is_waiting_ || turn_.holder_ == seat || others.back() > kHardly;
  }
  std::sort(others.begin(), others.end());
  double left = 1.0;
  auto sharers = static_cast<double>(others.size() + 1);
  for (const double use : others) {
    if (use > left / sharers) {
      break;
    }
    left -= use;
    sharers -= 1.0;
  }
  outlook.share = left / sharers;
  return outlook;
}

double Turn::Seat::waited_seconds() const {
  const MutexLock lock(turn_.mutex_);
  return waited_s_;
}

double Turn::recent(const Seat& seat, Clock::time_point now) const {
  const double kept = std::exp(-std::max(0.0, seconds_between(seat.settled_, now)) / kMemory);
  return kept * seat.recent_ + (holder_ == &seat ? 1.0 - kept : 0.0);
}

// Brings what the holder has had up to date.
void Turn::settle(Seat& seat, Clock::time_point now) {
  seat.recent_ = recent(seat, now);
  if (holder_ == &seat) {
    seat.used_s_ += seconds_between(seat.settled_, now);
  }
  seat.settled_ = now;
}

void Turn::grant(Seat& seat, Clock::time_point now) {
  holder_ = nullptr;
  settle(seat, now);  // without a turn until here
  holder_ = &seat;
  virtual_s_ = std::max(virtual_s_, seat.used_s_);
  if (std::exchange(seat.is_waiting_, false)) {
    seat.granted_.notify_one();
  }
}

Turn::Seat* Turn::least_served() const {
  Seat* least = nullptr;
  for (Seat* seat : seats_) {
    if (seat->is_waiting_ && (least == nullptr || seat->used_s_ < least->used_s_)) {
      least = seat;
    }
  }
  return least;
}

}  // namespace edgewise::platform
