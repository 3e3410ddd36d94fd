// Reads lines from a terminal with editing and a history that outlives the program; from a pipe,
// plain lines.
#pragma once

#include <filesystem>
#include <memory>
#include <string>

namespace edgewise::app {

class LineEditor {
 public:
  enum class Status { kLine, kInterrupted, kEnd };  // Ctrl-C / end of input

  struct Read {
    Status status = Status::kEnd;
    std::string line;  // without its newline; of an interrupted one: what was typed so far
  };

  // The history file is made when first needed; failing to write it is not an error.
  explicit LineEditor(std::filesystem::path history_file);
  ~LineEditor();
  LineEditor(const LineEditor&) = delete;
  LineEditor& operator=(const LineEditor&) = delete;

  Read read(const std::string& prompt);
  void remember(const std::string& entry);  // may have several lines

 private:
  struct State;
  std::unique_ptr<State> state_;
};

// XDG_STATE_HOME/edgewise/history, else ~/.local/state/edgewise/history; empty when neither is
// known.
std::filesystem::path default_history_file();

}  // namespace edgewise::app
