#include "command_line.h"

#include <fcntl.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <charconv>
#include <csignal>
#include <cstdio>
#include <limits>
#include <new>
#include <optional>
#include <system_error>

#include "bus_error.h"
#include "terminal.h"
#include "utf8.h"

namespace edgewise::app {
namespace {

constexpr std::string_view kDescription =
    "Runs language models on this machine's CPUs, and serves them to any OpenAI client.";

constexpr std::string_view kFooter = R"(
A MODEL is a file (model.gguf), a folder with model.safetensors, the name of a stored model
(`edgewise list`), or the owner/repo/file it was pulled from.

Examples:
  edgewise pull smollm2                        bring a small model from the catalogue
  edgewise run smollm2 "Why is the sky blue?"  one answer
  edgewise run smollm2                         a conversation
  edgewise serve smollm2 --port 8080           an OpenAI-compatible server
  edgewise run --help                          the options of one command

Exit codes:
  0 success    1 failure (I/O, or a bug)       2 wrong option or request
  3 not found  4 corrupt or unsupported model  5 out of memory, disk or context
  6 unavailable (port taken, download failed)  7 permission denied  130 interrupted

Environment:
  EDGEWISE_HOME      where stored models lie (default: $XDG_DATA_HOME/edgewise)
  EDGEWISE_PACKED    off: keep no packed weights on disk, and use none (default: on)
  EDGEWISE_ISA       forces a kernel set (portable, avx2, avxvnni, avx512, amx; on ARM neon, dotprod, i8mm)
  EDGEWISE_API_KEYS  keys that `serve` accepts, separated by commas
  OTEL_EXPORTER_OTLP_ENDPOINT  where `serve` sends traces of its requests (docs/serving.md)
  HF_ENDPOINT        base address for owner/repo/file references in `pull`
  NO_COLOR           no colours
)";

// CLI11 takes -1 and what does not fit for the largest number.
std::string explain_if_no_number(const std::string& text) {
  std::uint64_t ignored = 0;
  const auto [stopped, ec] = std::from_chars(text.data(), text.data() + text.size(), ignored);
  return ec == std::errc() && stopped == text.data() + text.size()
             ? ""
             : fmt::format("\"{}\" is not a whole number from 0 to {}", text,
                           std::numeric_limits<std::uint64_t>::max());
}

class CliCommand final : public Command {
 public:
  explicit CliCommand(CLI::App* app) : app_(app) {}

  void argument(std::string name, std::string& value, std::string help, bool required) override {
    app_->add_option(name, value, help)->required(required)->option_text(" ");
  }

  void argument(std::string name, std::vector<std::string>& values, std::string help) override {
    app_->add_option(name, values, help)->required()->option_text("...");
  }

  void flag(std::string names, bool& value, std::string help) override {
    app_->add_flag(names, value, help);
  }

  void option(std::string names, std::string& value, std::string help) override {
    add(names, value, help, "TEXT");
  }

  void option(std::string names, int& value, std::string help) override {
    add(names, value, help, "N");
  }

  void option(std::string names, std::int64_t& value, std::string help) override {
    add(names, value, help, "N");
  }

  void option(std::string names, std::optional<std::int64_t>& value, std::string help) override {
    add(names, value, help, "N");
  }

  void option(std::string names, std::optional<std::uint64_t>& value, std::string help) override {
    add(names, value, help, "N")->check(explain_if_no_number);
  }

  void option(std::string names, std::optional<double>& value, std::string help) override {
    add(names, value, help, "X");
  }

  void option(std::string names, std::vector<std::int64_t>& values, std::string help) override {
    add(names, values, help, "N,N,...")->delimiter(',');
  }

  void option(std::string names, std::vector<std::string>& values, std::string help) override {
    add(names, values, help, "TEXT")->allow_extra_args(false);
  }

  bool was_given(const std::string& name) const override {
    return app_->get_option(name)->count() > 0;
  }

  void notes(std::string text) override { app_->footer(std::move(text)); }

 private:
  template <typename T>
  CLI::Option* add(const std::string& names, T& value, const std::string& help, const char* kind) {
    return app_->add_option(names, value, help)->option_text(kind);
  }

  CLI::App* app_;
};

// What CLI11 found wrong, said about the option: its own texts speak of types and counts.
std::string plain_text(const CLI::Error& error) {
  const std::string text = error.what();
  if (dynamic_cast<const CLI::ConversionError*>(&error) != nullptr) {
    constexpr std::string_view kStart = "Could not convert: ";
    const std::size_t equals = text.find(" = ");
    if (text.starts_with(kStart) && equals != std::string::npos) {
      return fmt::format("{} takes a number, not \"{}\"",
                         text.substr(kStart.size(), equals - kStart.size()),
                         text.substr(equals + 3));
    }
  }
  if (dynamic_cast<const CLI::ArgumentMismatch*>(&error) != nullptr) {
    const std::string name = text.substr(0, text.find(':'));
    return text.ends_with(" missing") ? name + " needs a value"
                                      : name + " was given more than once; it takes one value";
  }
  return text;
}

// The first word, where it names none of the commands.
std::optional<std::string_view> unknown_command(int argc,
                                                char** argv,
                                                std::span<const CommandSpec> commands) {
  if (argc < 2 || argv[1][0] == '-') {
    return std::nullopt;
  }
  const std::string_view word = argv[1];
  const bool is_known = std::any_of(commands.begin(), commands.end(),
                                    [&](const CommandSpec& spec) { return spec.name == word; });
  return is_known ? std::nullopt : std::optional(word);
}

// Exceptions of the standard library that tell of a machine's limits.
Result<void> act(const Action& action) {
  try {
    return action();
  } catch (const std::system_error& error) {
    if (error.code() != std::errc::resource_unavailable_try_again) {
      throw;
    }
    return fail(ErrorCode::kResourceExhausted,
                "cannot start a thread: the limit of processes is reached (`ulimit -u`, or the "
                "container's pids limit); allow more");
  } catch (const std::bad_alloc&) {
    return fail(ErrorCode::kResourceExhausted,
                "out of memory; free some, allow more, or use a smaller model or --context");
  }
}

int report(const Error& error) {
  if (error.code == ErrorCode::kCancelled && error.message.empty()) {
    return kExitInterrupted;
  }
  const Style style = Style::of_stderr();
  std::fflush(stdout);
  // Messages quote files and servers, which must not get to steer the terminal.
  write_err("{}error:{} {}\n", style.red, style.reset, to_printable_lines(error.message));
  return exit_code(error.code);
}

// A closed standard stream would leave its number to the next file that is opened, a model or a
// download, and what is printed would land there. Writing to these fails instead.
void occupy_standard_streams() {
  int file = 0;
  do {
    file = ::open("/dev/null", O_RDONLY | O_CLOEXEC);
  } while (file >= 0 && file <= STDERR_FILENO);
  if (file >= 0) {
    ::close(file);
  }
}

}  // namespace

int exit_code(ErrorCode code) {
  switch (code) {
    case ErrorCode::kInvalidArgument:
      return kExitUsage;
    case ErrorCode::kNotFound:
      return kExitNotFound;
    case ErrorCode::kCorrupt:
    case ErrorCode::kUnsupported:
      return kExitBadModel;
    case ErrorCode::kResourceExhausted:
      return kExitExhausted;
    case ErrorCode::kUnavailable:
    case ErrorCode::kDeadlineUnreachable:
    case ErrorCode::kDeadlineExceeded:
      return kExitUnavailable;
    case ErrorCode::kCancelled:
      return kExitInterrupted;
    case ErrorCode::kPermissionDenied:
      return kExitPermission;
    case ErrorCode::kIo:
    case ErrorCode::kInternal:
      return kExitFailure;
  }
  return kExitFailure;
}

int run_command_line(int argc, char** argv, std::span<const CommandSpec> commands) {
  occupy_standard_streams();
  explain_bus_errors();
  std::signal(SIGXFSZ, SIG_IGN);  // a file over `ulimit -f` is an error of its write
  CLI::App app{std::string(kDescription), "edgewise"};
  app.set_version_flag("--version", "edgewise " EDGEWISE_VERSION);
  app.footer(std::string(kFooter));
  app.require_subcommand(1);
  app.failure_message([](const CLI::App*, const CLI::Error& error) {
    return fmt::format("error: {}\nRun with --help for more information.\n", plain_text(error));
  });
  app.get_formatter()->column_width(34);

  std::vector<std::unique_ptr<CliCommand>> declared;
  std::vector<std::pair<CLI::App*, Action>> actions;
  for (const CommandSpec& spec : commands) {
    CLI::App* sub = app.add_subcommand(std::string(spec.name), std::string(spec.summary));
    sub->get_formatter()->column_width(34);
    declared.push_back(std::make_unique<CliCommand>(sub));
    actions.emplace_back(sub, spec.define(*declared.back()));
  }
  if (const auto word = unknown_command(argc, argv, commands)) {
    return report(
        Error{ErrorCode::kInvalidArgument,
              fmt::format("there is no command \"{}\"; `edgewise --help` lists them", *word)});
  }
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? kExitOk : kExitUsage;
  }
  for (const auto& [sub, action] : actions) {
    if (!sub->parsed()) {
      continue;
    }
    if (const Result<void> done = act(action); !done) {
      return report(done.error());
    }
  }
  if (std::fflush(stdout) != 0 || std::ferror(stdout) != 0) {
    return report(Error{ErrorCode::kIo, "writing to standard output failed"});
  }
  return kExitOk;
}

}  // namespace edgewise::app
