// Signals as something to ask for instead of something that happens. Create before any other thread
// starts: they inherit that the signals wait.
#pragma once

#include <chrono>
#include <csignal>
#include <initializer_list>

namespace edgewise::app {

class Interrupt {
 public:
  // SIGHUP does not count where whoever started the program had it ignored.
  explicit Interrupt(std::initializer_list<int> signals = {SIGINT});
  ~Interrupt();
  Interrupt(const Interrupt&) = delete;
  Interrupt& operator=(const Interrupt&) = delete;

  // Whether one came since the last call.
  bool take() { return wait(std::chrono::milliseconds(0)); }

  // Whether one came, waiting at most `limit` for it.
  bool wait(std::chrono::milliseconds limit);

  // Ends the process as an uncaught SIGINT does.
  [[noreturn]] void end_process();

 private:
  sigset_t waiting_;
  sigset_t previous_;
};

}  // namespace edgewise::app
