// The command line as the subcommands see it: they declare arguments, options and examples, and
// give back what to do. Hides the parsing library, whose header costs seconds to compile, behind
// one source file.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace edgewise::app {

// Exit codes, the same for every subcommand; `edgewise --help` prints this list.
enum ExitCode : int {
  kExitOk = 0,
  kExitFailure = 1,      // the operating system refused, or a bug
  kExitUsage = 2,        // an option or a request is wrong
  kExitNotFound = 3,     // a file, model or name does not exist
  kExitBadModel = 4,     // a file is corrupt, or of a kind that is not supported
  kExitExhausted = 5,    // memory, disk or context is used up
  kExitUnavailable = 6,  // a port is taken, a download did not work; trying again may help
  kExitPermission = 7,
  kExitInterrupted = 130,
};

int exit_code(ErrorCode code);

// One subcommand being declared. Values are written before its action runs.
class Command {
 public:
  virtual ~Command() = default;

  virtual void argument(std::string name, std::string& value, std::string help, bool required) = 0;
  virtual void argument(std::string name,
                        std::vector<std::string>& values,
                        std::string help) = 0;  // one or more
  virtual void flag(std::string names, bool& value, std::string help) = 0;

  virtual void option(std::string names, std::string& value, std::string help) = 0;
  virtual void option(std::string names, int& value, std::string help) = 0;
  virtual void option(std::string names, std::int64_t& value, std::string help) = 0;
  virtual void option(std::string names, std::optional<std::int64_t>& value, std::string help) = 0;
  virtual void option(std::string names, std::optional<std::uint64_t>& value, std::string help) = 0;
  virtual void option(std::string names, std::optional<double>& value, std::string help) = 0;
  virtual void option(std::string names,
                      std::vector<std::int64_t>& values,
                      std::string help) = 0;  // comma-separated
  virtual void option(std::string names,
                      std::vector<std::string>& values,
                      std::string help) = 0;  // repeatable

  // After parsing: whether the user gave this argument or option at all.
  virtual bool was_given(const std::string& name) const = 0;

  // Shown at the end of the subcommand's help.
  virtual void notes(std::string text) = 0;
};

using Action = std::function<Result<void>()>;

struct CommandSpec {
  std::string_view name;
  std::string_view summary;
  Action (*define)(Command& command);
};

// Parses, runs the chosen subcommand, prints its error, and gives back the exit code.
int run_command_line(int argc, char** argv, std::span<const CommandSpec> commands);

}  // namespace edgewise::app
