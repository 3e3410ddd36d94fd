// Holds each API key to what its policy allows: requests and tokens a minute, requests at once. What
// is too much is refused at once, with the time after which it would not be. Any thread.
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <vector>

#include "api/auth.h"
#include "api/errors.h"

namespace edgewise::api {

class KeyLimits {
 public:
  using Clock = std::chrono::steady_clock;

  // `keys` must outlive this; `now` is the tests' way to let time pass.
  explicit KeyLimits(const ApiKeys& keys, std::function<Clock::time_point()> now = Clock::now);
  ~KeyLimits();

  // One request being served; the end of it ends the request. May outlive the KeyLimits.
  class Ticket {
   public:
    Ticket() = default;
    void charge(std::int64_t tokens);  // computed for it, read or written

   private:
    friend class KeyLimits;
    class Leave;
    std::shared_ptr<Leave> leave_;
  };

  // Tokens are known only afterwards: a request may enter while its key has any left, and what it
  // takes is missing later.
  tl::expected<Ticket, ApiError> enter(std::size_t key);

 private:
  struct State;
  std::shared_ptr<State> state_;
};

}  // namespace edgewise::api
