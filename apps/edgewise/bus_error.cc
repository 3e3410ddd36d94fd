#include "bus_error.h"

#include <unistd.h>

#include <csignal>
#include <string_view>

#include "command_line.h"

namespace edgewise::app {
namespace {

extern "C" void on_bus_error(int /*signal*/) {
  constexpr std::string_view kMessage =
      "error: a model file could no longer be read: it was shortened while in use, or the disk "
      "fails; replace models by renaming a new file over the old one\n";
  const ssize_t ignored = ::write(STDERR_FILENO, kMessage.data(), kMessage.size());
  static_cast<void>(ignored);
  ::_exit(kExitBadModel);
}

}  // namespace

void explain_bus_errors() {
  struct sigaction action{};
  action.sa_handler = on_bus_error;
  ::sigaction(SIGBUS, &action, nullptr);
}

}  // namespace edgewise::app
