// What people see: colours where they are wanted, progress lines on a terminal, sizes in words.
// Progress goes to standard error and is silent unless that is a terminal. One thread.
#pragma once

#include <fmt/format.h>

#include <chrono>
#include <cstdint>
#include <cstdio>
#include <string>
#include <string_view>

namespace edgewise::app {

// Errors of the stream are kept by it and reported once, at the end of the command.
template <typename... Args>
void write_out(fmt::format_string<Args...> format, Args&&... args) {
  const std::string text = fmt::format(format, std::forward<Args>(args)...);
  std::fwrite(text.data(), 1, text.size(), stdout);
}

template <typename... Args>
void write_err(fmt::format_string<Args...> format, Args&&... args) {
  const std::string text = fmt::format(format, std::forward<Args>(args)...);
  std::fwrite(text.data(), 1, text.size(), stderr);
}

bool stdin_is_terminal();
bool stdout_is_terminal();
bool stderr_is_terminal();

// Escape sequences, empty where colours are not wanted (no terminal, NO_COLOR set, TERM=dumb).
struct Style {
  std::string_view bold, dim, red, green, reset;
  static Style of_stdout();
  static Style of_stderr();
};

std::string human_bytes(double bytes);  // "1.1 GB", decimal units

// One line that rewrites itself, at most ten times a second.
class ProgressLine {
 public:
  explicit ProgressLine(std::string label);
  ~ProgressLine();  // removes the line
  ProgressLine(const ProgressLine&) = delete;
  ProgressLine& operator=(const ProgressLine&) = delete;

  void show_fraction(double fraction);
  void show_bytes(std::int64_t done, std::int64_t total);  // total 0: unknown
  void show_text(std::string_view text);

  void clear();

 private:
  bool is_due();
  void draw(std::string_view text);

  std::string label_;
  bool enabled_;
  bool drawn_ = false;
  std::chrono::steady_clock::time_point started_;
  std::chrono::steady_clock::time_point last_drawn_;
  std::int64_t first_bytes_ = -1;
};

}  // namespace edgewise::app
