#include "chat_session.h"

#include <cstdio>
#include <fstream>

#include "answer.h"
#include "json_writer.h"
#include "line_editor.h"
#include "terminal.h"

namespace edgewise::app {
namespace {

constexpr std::string_view kQuotes = "\"\"\"";
constexpr std::string_view kHelp = R"(  /clear         forget the conversation
  /system TEXT   set the system message (without TEXT: remove it) and forget the conversation
  /save FILE     write the conversation to FILE as JSON messages
  /help          this
  /exit          leave (also Ctrl-D)
  """ starts and ends an input of several lines; so does a \ at the end of a line.
  Ctrl-C stops an answer; at the prompt, twice, it leaves.
)";

class ChatSession {
 public:
  ChatSession(chat::Generator& generator, Interrupt& interrupt, const SessionOptions& options)
      : generator_(generator),
        interrupt_(interrupt),
        options_(options),
        editor_(default_history_file()) {
    conversation_.set_system(options.system);
  }

  void run() {
    write_out("{}{}, context {} tokens. /help lists the commands.{}\n", style_.dim,
              generator_.model_name(), generator_.engine().context(), style_.reset);
    while (const std::optional<std::string> input = read_input()) {
      if (input->find_first_not_of(" \t\n") == std::string::npos) {
        continue;
      }
      editor_.remember(*input);
      if (!input->starts_with('/')) {
        answer(*input);
      } else if (!obey(*input)) {
        return;
      }
    }
  }

 private:
  // nullopt: leave.
  std::optional<std::string> read_input() {
    std::string text;
    bool quoted = false;
    bool interrupted_before = false;
    std::string prompt = "> ";
    while (true) {
      std::fflush(stdout);
      LineEditor::Read read = editor_.read(prompt);
      if (read.status == LineEditor::Status::kEnd) {
        return std::nullopt;
      }
      if (read.status == LineEditor::Status::kInterrupted) {
        const bool abandons_input = !text.empty() || !read.line.empty();
        if (interrupted_before && !abandons_input) {
          return std::nullopt;
        }
        if (!abandons_input) {
          write_out("{}Ctrl-C again, or Ctrl-D, leaves.{}\n", style_.dim, style_.reset);
        }
        interrupted_before = !abandons_input;
        text.clear();
        quoted = false;
        prompt = "> ";
        continue;
      }
      interrupted_before = false;
      if (add_line(read.line, text, quoted)) {
        return text;
      }
      prompt = "... ";
    }
  }

  // Whether the input is complete with this line.
  static bool add_line(std::string_view line, std::string& text, bool& quoted) {
    if (!quoted && text.empty() && line.starts_with(kQuotes)) {
      quoted = true;
      line.remove_prefix(kQuotes.size());
      if (line.empty()) {
        return false;
      }
    }
    if (quoted) {
      const bool ends = line.ends_with(kQuotes);
      text += line.substr(0, line.size() - (ends ? kQuotes.size() : 0));
      text += ends ? "" : "\n";
      return ends;
    }
    const bool continues = line.ends_with('\\');
    text += line.substr(0, line.size() - (continues ? 1 : 0));
    text += continues ? "\n" : "";
    return !continues;
  }

  // Whether to go on.
  bool obey(const std::string& input) {
    const std::size_t space = input.find(' ');
    const std::string command = input.substr(0, space);
    const std::string argument = space == std::string::npos ? "" : input.substr(space + 1);
    if (command == "/exit" || command == "/quit" || command == "/bye") {
      return false;
    }
    if (command == "/help" || command == "/?") {
      write_out("{}", kHelp);
    } else if (command == "/clear") {
      conversation_.clear();
    } else if (command == "/system") {
      conversation_.set_system(argument);
      conversation_.clear();
    } else if (command == "/save") {
      save(argument);
    } else {
      complain(fmt::format("there is no command {}; /help lists them", command));
    }
    return true;
  }

  void save(const std::string& path) {
    std::ofstream file(path);
    file << conversation_.to_json() << '\n';
    file.close();
    if (path.empty() || !file) {
      complain(path.empty() ? "/save needs a file name" : fmt::format("cannot write {}", path));
    } else {
      write_out("{}saved {} messages to {}{}\n", style_.dim, conversation_.messages().size(), path,
                style_.reset);
    }
  }

  void answer(const std::string& input) {
    conversation_.add("user", input);
    const Start start = [&](chat::Sink sink) {
      if (!options_.templated) {
        return generator_.start_completion(generator_.tokenizer().encode(input),
                                           options_.generation, std::move(sink));
      }
      chat::ChatInput chat;
      chat.messages_json = conversation_.to_json();
      return generator_.start_chat(chat, options_.generation, std::move(sink));
    };
    interrupt_.take();  // one that came at the prompt is not about this answer
    const Result<Answer> answer =
        stream_answer(generator_, interrupt_, {.enabled = true, .reasoning = true}, start);
    if (!answer) {
      conversation_.drop_last();
      complain(answer.error().message +
               (conversation_.messages().size() > 1 ? " (/clear forgets the conversation)" : ""));
      return;
    }
    write_out("\n");
    conversation_.add("assistant", answer->content);
    if (answer->finish == chat::Finish::kLength) {
      write_out("{}(stopped: --max-tokens or the context of {} tokens is used up){}\n", style_.dim,
                generator_.engine().context(), style_.reset);
    } else if (answer->finish == chat::Finish::kCancelled) {
      write_out("{}(stopped){}\n", style_.dim, style_.reset);
    }
    if (options_.stats) {
      write_err("{}{}{}\n", Style::of_stderr().dim,
                stats_line(*answer, options_.generation.sampling.seed), Style::of_stderr().reset);
    }
  }

  void complain(std::string_view message) {
    write_err("{}error:{} {}\n", style_.red, style_.reset, message);
  }

  chat::Generator& generator_;
  Interrupt& interrupt_;
  const SessionOptions& options_;
  LineEditor editor_;
  Conversation conversation_;
  Style style_ = Style::of_stdout();
};

}  // namespace

Result<void> hold_conversation(chat::Generator& generator,
                               Interrupt& interrupt,
                               const SessionOptions& options) {
  ChatSession(generator, interrupt, options).run();
  return {};
}

}  // namespace edgewise::app
