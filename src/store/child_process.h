// Runs another program to its end, quietly. From a process with one thread only.
#pragma once

#include <chrono>
#include <filesystem>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "base/result.h"

namespace edgewise::store {

struct ChildCommand {
  std::vector<std::string> arguments;  // the program first, looked up in PATH
  std::vector<std::pair<std::string, std::string>> environment;  // added to ours
  std::filesystem::path log;                                     // receives what it prints
  std::int64_t most_file_bytes = 0;  // no file that it writes may be larger; 0: no limit
  std::function<void()> on_tick;     // called about twenty times a second; may be empty
};

// A program that can't be started: kNotFound. One that fails: kUnavailable with the end of its log.
Result<void> run_child(const ChildCommand& command);

}  // namespace edgewise::store
