#include "store/child_process.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <thread>

#include "store/disk.h"

namespace edgewise::store {
namespace {

constexpr int kCannotStart = 127;  // as shells say it

// In the child, after fork: only calls that are safe there.
[[noreturn]] void become(const ChildCommand& command,
                         char* const* arguments,
                         int log_fd,
                         int null_fd) {
  prctl(PR_SET_PDEATHSIG, SIGTERM);  // it must not go on writing when we were killed
  if (command.most_file_bytes > 0) {
    const auto most = static_cast<rlim_t>(command.most_file_bytes);
    const rlimit limit{.rlim_cur = most, .rlim_max = most};
    setrlimit(RLIMIT_FSIZE, &limit);
  }
  dup2(null_fd, STDIN_FILENO);
  dup2(log_fd, STDOUT_FILENO);
  dup2(log_fd, STDERR_FILENO);
  for (const auto& [name, value] : command.environment) {
    setenv(name.c_str(), value.c_str(), 1);
  }
  execvp(arguments[0], arguments);
  _exit(kCannotStart);
}

std::string end_of_log(const std::filesystem::path& log) {
  constexpr std::size_t kShown = 600;
  std::string text = read_small_file(log, 1 << 20).value_or("");
  text.erase(text.find_last_not_of(" \n\r\t") + 1);
  if (text.size() > kShown) {
    text = "..." + text.substr(text.size() - kShown);
  }
  return text.empty() ? "it said nothing" : text;
}

Result<int> wait_for(pid_t child, const std::function<void()>& on_tick) {
  int status = 0;
  while (true) {
    const pid_t done = waitpid(child, &status, WNOHANG);
    if (done == child) {
      return status;
    }
    if (done < 0 && errno != EINTR) {
      return fail(ErrorCode::kInternal, "waiting for a child process failed");
    }
    if (on_tick) {
      on_tick();
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
  }
}

}  // namespace

Result<void> run_child(const ChildCommand& command) {
  const int log_fd = open(command.log.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
  if (log_fd < 0) {
    return io_error("cannot create", command.log);
  }
  const int null_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
  std::vector<char*> arguments;
  for (const std::string& argument : command.arguments) {
    arguments.push_back(const_cast<char*>(argument.c_str()));  // execvp does not write to them
  }
  arguments.push_back(nullptr);
  const pid_t child = fork();
  if (child == 0) {
    become(command, arguments.data(), log_fd, null_fd);
  }
  const int fork_error = errno;
  close(log_fd);
  close(null_fd);
  if (child < 0) {
    return io_error("cannot start", command.arguments[0], fork_error);
  }
  const int status = TRY(wait_for(child, command.on_tick));
  if (WIFEXITED(status) && WEXITSTATUS(status) == 0) {
    return {};
  }
  if (WIFEXITED(status) && WEXITSTATUS(status) == kCannotStart) {
    return fail(ErrorCode::kNotFound, "cannot start {}: is it installed?", command.arguments[0]);
  }
  if (WIFSIGNALED(status) && WTERMSIG(status) == SIGINT) {
    return fail(ErrorCode::kCancelled, "interrupted");
  }
  return fail(ErrorCode::kUnavailable, "{} failed: {}", command.arguments[0],
              end_of_log(command.log));
}

}  // namespace edgewise::store
