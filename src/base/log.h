// Log lines on standard error: "2026-11-24T10:00:00.123Z level message". Any thread.
//
// Secrets (API keys, prompts, answers) are never logged.
#pragma once

#include <fmt/format.h>

#include <string_view>
#include <utility>

namespace edgewise {

enum class LogLevel { kInfo, kWarning, kError };

void set_log_level(LogLevel lowest_shown);  // default: kWarning
bool is_logged(LogLevel level);
void write_log_line(LogLevel level, std::string_view message);

template <typename... Args>
void log(LogLevel level, fmt::format_string<Args...> format, Args&&... args) {
  if (is_logged(level)) {
    write_log_line(level, fmt::format(format, std::forward<Args>(args)...));
  }
}

}  // namespace edgewise
