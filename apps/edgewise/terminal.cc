#include "terminal.h"

#include <fmt/format.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <cstdlib>

namespace edgewise::app {
namespace {

// https://no-color.org: set and not empty turns colours off.
bool wants_color(int fd) {
  const char* no_color = std::getenv("NO_COLOR");
  const char* term = std::getenv("TERM");
  return isatty(fd) == 1 && (no_color == nullptr || *no_color == '\0') && term != nullptr &&
         std::string_view(term) != "dumb";
}

Style style_of(int fd) {
  if (!wants_color(fd)) {
    return {};
  }
  return {.bold = "\033[1m",
          .dim = "\033[2m",
          .red = "\033[31m",
          .green = "\033[32m",
          .reset = "\033[0m"};
}

std::size_t terminal_columns() {
  winsize size{};
  if (ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 20) {
    return size.ws_col;
  }
  return 80;
}

std::string bar(double fraction) {
  constexpr int kWidth = 28;
  const int filled = static_cast<int>(std::clamp(fraction, 0.0, 1.0) * kWidth);
  return fmt::format("[{}{}] {:3.0f}%", std::string(static_cast<std::size_t>(filled), '='),
                     std::string(static_cast<std::size_t>(kWidth - filled), ' '), fraction * 100.0);
}

}  // namespace

bool stdin_is_terminal() {
  return isatty(STDIN_FILENO) == 1;
}

bool stdout_is_terminal() {
  return isatty(STDOUT_FILENO) == 1;
}

bool stderr_is_terminal() {
  return isatty(STDERR_FILENO) == 1;
}

Style Style::of_stdout() {
  return style_of(STDOUT_FILENO);
}

Style Style::of_stderr() {
  return style_of(STDERR_FILENO);
}

std::string human_bytes(double bytes) {
  constexpr std::array<std::string_view, 5> kUnits = {"B", "kB", "MB", "GB", "TB"};
  std::size_t unit = 0;
  while (bytes >= 999.5 && unit + 1 < kUnits.size()) {
    bytes /= 1000.0;
    ++unit;
  }
  return unit == 0 ? fmt::format("{:.0f} B", bytes)
                   : fmt::format("{:.{}f} {}", bytes, bytes < 9.95 ? 2 : (bytes < 99.95 ? 1 : 0),
                                 kUnits[unit]);
}

ProgressLine::ProgressLine(std::string label)
    : label_(std::move(label)),
      enabled_(stderr_is_terminal()),
      started_(std::chrono::steady_clock::now()) {}

ProgressLine::~ProgressLine() {
  clear();
}

void ProgressLine::show_fraction(double fraction) {
  if (is_due()) {
    draw(bar(fraction));
  }
}

void ProgressLine::show_bytes(std::int64_t done, std::int64_t total) {
  if (first_bytes_ < 0) {
    first_bytes_ = done;
  }
  if (!is_due()) {
    return;
  }
  const double seconds =
      std::chrono::duration<double>(std::chrono::steady_clock::now() - started_).count();
  const double rate = seconds > 0.0 ? static_cast<double>(done - first_bytes_) / seconds : 0.0;
  if (total > 0) {
    draw(fmt::format("{} {} of {}, {}/s",
                     bar(static_cast<double>(done) / static_cast<double>(total)),
                     human_bytes(static_cast<double>(done)),
                     human_bytes(static_cast<double>(total)), human_bytes(rate)));
  } else {
    draw(fmt::format("{}, {}/s", human_bytes(static_cast<double>(done)), human_bytes(rate)));
  }
}

void ProgressLine::show_text(std::string_view text) {
  if (is_due()) {
    draw(text);
  }
}

void ProgressLine::clear() {
  if (drawn_) {
    write_err("\r\033[K");
    std::fflush(stderr);
    drawn_ = false;
  }
}

bool ProgressLine::is_due() {
  if (!enabled_) {
    return false;
  }
  const auto now = std::chrono::steady_clock::now();
  if (drawn_ && now - last_drawn_ < std::chrono::milliseconds(100)) {
    return false;
  }
  last_drawn_ = now;
  return true;
}

void ProgressLine::draw(std::string_view text) {
  const std::string line = fmt::format("{} {}", label_, text);
  write_err("\r\033[K{}", std::string_view(line).substr(0, terminal_columns() - 1));
  std::fflush(stderr);
  drawn_ = true;
}

}  // namespace edgewise::app
