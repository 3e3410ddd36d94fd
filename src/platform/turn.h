// Whose turn it is, where several threads each want the whole machine for some milliseconds at a
// time: one computes, the others wait. Between two steps it goes to whoever has had least of it.
//
// Fair in time, not in turns (start-time fair queueing, Goyal, Vin and Cheng 1996): with short steps
// beside long ones both get half. Who comes back from idling has saved nothing up. Any number of
// seats, each used by one thread.
#pragma once

#include <chrono>
#include <functional>
#include <vector>

#include "base/mutex.h"

namespace edgewise::platform {

class Turn {
 public:
  using Clock = std::chrono::steady_clock;

  // `now` is the tests' way to let time pass.
  explicit Turn(std::function<Clock::time_point()> now = Clock::now) : now_(std::move(now)) {}

  // What whoever asks may expect.
  struct Outlook {
    double share = 1.0;      // of the machine, in (0, 1], while he has something to compute
    bool is_shared = false;  // somebody else computes, waits, or did so lately
  };

  class Seat {
   public:
    explicit Seat(Turn& turn);  // which must outlive it
    ~Seat();                    // leaves
    Seat(const Seat&) = delete;
    Seat& operator=(const Seat&) = delete;

    // Returns when it is this seat's turn, which it keeps until the next take() or leave(). To be
    // called before every step: that is where the turn changes.
    void take();
    void leave();  // nothing more to compute; nothing happens to who has no turn

    // From what the others have used over the last second or so, and what fairness leaves.
    Outlook outlook() const;
    double waited_seconds() const;  // since the start, in take()

   private:
    friend class Turn;

    Turn& turn_;
    // All guarded by the turn's mutex.
    Condition granted_;
    bool is_waiting_ = false;
    double used_s_ = 0.0;  // virtual time: of the machine, or what others had meanwhile
    double waited_s_ = 0.0;
    double recent_ = 0.0;  // share of the machine, averaged, at `settled_`
    Clock::time_point settled_;
  };

 private:
  void settle(Seat& seat, Clock::time_point now) EDGEWISE_REQUIRES(mutex_);
  void grant(Seat& seat, Clock::time_point now) EDGEWISE_REQUIRES(mutex_);
  Seat* least_served() const EDGEWISE_REQUIRES(mutex_);  // of those who wait; null: nobody does
  double recent(const Seat& seat, Clock::time_point now) const EDGEWISE_REQUIRES(mutex_);

  const std::function<Clock::time_point()> now_;
  mutable Mutex mutex_;
  std::vector<Seat*> seats_ EDGEWISE_GUARDED_BY(mutex_);
  Seat* holder_ EDGEWISE_GUARDED_BY(mutex_) = nullptr;
  double virtual_s_ EDGEWISE_GUARDED_BY(mutex_) = 0.0;  // at which the running step began
};

}  // namespace edgewise::platform
