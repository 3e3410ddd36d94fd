#include "base/log.h"

#include <fmt/chrono.h>

#include <atomic>
#include <chrono>
#include <cstdio>

namespace edgewise {
namespace {

std::atomic<LogLevel> lowest_level{LogLevel::kWarning};

constexpr const char* kNames[] = {"info", "warning", "error"};

}  // namespace

void set_log_level(LogLevel lowest_shown) {
  lowest_level.store(lowest_shown, std::memory_order_relaxed);
}

bool is_logged(LogLevel level) {
  return level >= lowest_level.load(std::memory_order_relaxed);
}

void write_log_line(LogLevel level, std::string_view message) {
  const auto now = std::chrono::system_clock::now();
  const auto millis =
      std::chrono::duration_cast<std::chrono::milliseconds>(now.time_since_epoch()).count() % 1000;
  const std::string line = fmt::format("{:%Y-%m-%dT%H:%M:%S}.{:03}Z {} {}\n",
                                       fmt::gmtime(std::chrono::system_clock::to_time_t(now)),
                                       millis, kNames[static_cast<int>(level)], message);
  std::fwrite(line.data(), 1, line.size(),
              stderr);  // one write: lines of several threads do not mix
}

}  // namespace edgewise
