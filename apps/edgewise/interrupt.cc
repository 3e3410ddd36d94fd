#include "interrupt.h"

#include <pthread.h>
#include <unistd.h>

#include <cerrno>
#include <ctime>

#include "command_line.h"

namespace edgewise::app {
namespace {

// As under nohup: the program is to outlive its terminal.
bool is_ignored_hangup(int signal) {
  struct sigaction action = {};
  return signal == SIGHUP && sigaction(signal, nullptr, &action) == 0 &&
         action.sa_handler == SIG_IGN;
}

}  // namespace

Interrupt::Interrupt(std::initializer_list<int> signals) {
  sigemptyset(&waiting_);
  for (const int signal : signals) {
    if (!is_ignored_hangup(signal)) {
      sigaddset(&waiting_, signal);
    }
  }
  pthread_sigmask(SIG_BLOCK, &waiting_, &previous_);
}

Interrupt::~Interrupt() {
  pthread_sigmask(SIG_SETMASK, &previous_, nullptr);
}

bool Interrupt::wait(std::chrono::milliseconds limit) {
  const timespec time{.tv_sec = limit.count() / 1000, .tv_nsec = limit.count() % 1000 * 1'000'000};
  return sigtimedwait(&waiting_, nullptr, &time) > 0;
}

void Interrupt::end_process() {
  std::signal(SIGINT, SIG_DFL);
  pthread_sigmask(SIG_UNBLOCK, &waiting_, nullptr);
  std::raise(SIGINT);
  _exit(kExitInterrupted);
}

}  // namespace edgewise::app
