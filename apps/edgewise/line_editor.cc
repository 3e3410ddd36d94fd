#include "line_editor.h"

#include <histedit.h>
#include <sys/stat.h>

#include <cstdio>
#include <cstdlib>

namespace edgewise::app {
namespace {

constexpr int kHistoryEntries = 1000;

struct EndEditLine {
  void operator()(EditLine* editor) const { el_end(editor); }
};

struct EndHistory {
  void operator()(History* history) const { history_end(history); }
};

}  // namespace

struct LineEditor::State {
  std::filesystem::path history_file;
  std::string prompt;
  bool interrupted = false;
  std::string abandoned;  // what was typed before Ctrl-C
  std::unique_ptr<History, EndHistory> history;
  std::unique_ptr<EditLine, EndEditLine> editor;

  static State& of(EditLine* editor) {
    void* state = nullptr;
    el_get(editor, EL_CLIENTDATA, &state);
    return *static_cast<State*>(state);
  }

  static char* show_prompt(EditLine* editor) { return of(editor).prompt.data(); }

  // Ctrl-C arrives as a character (the terminal's interrupt key is off while a line is edited).
  static unsigned char on_interrupt(EditLine* editor, wint_t) {
    const LineInfo* line = el_line(editor);
    of(editor).abandoned.assign(line->buffer, line->lastchar);
    of(editor).interrupted = true;
    return CC_EOF;
  }

  void configure() {
    el_set(editor.get(), EL_CLIENTDATA, this);
    el_set(editor.get(), EL_PROMPT, &show_prompt);
    el_set(editor.get(), EL_EDITOR, "emacs");
    el_set(editor.get(), EL_HIST, history_wrapper(), history.get());
    el_source(editor.get(), nullptr);  // the user's ~/.editrc
    el_set(editor.get(), EL_SETTY, "-d", "-isig", nullptr);
    // The wide form keeps these pointers; the narrow one would leak its copies.
    el_wset(editor.get(), EL_ADDFN, L"edgewise-interrupt", L"stop", &on_interrupt);
    el_set(editor.get(), EL_BIND, "^C", "edgewise-interrupt", nullptr);
    el_set(editor.get(), EL_BIND, "^R", "em-inc-search-prev", nullptr);
  }

  static int (*history_wrapper())(History*, HistEvent*, int, ...) { return &::history; }

  void load_history() {
    HistEvent event{};
    ::history(history.get(), &event, H_SETSIZE, kHistoryEntries);
    ::history(history.get(), &event, H_SETUNIQUE, 1);
    if (!history_file.empty()) {
      ::history(history.get(), &event, H_LOAD, history_file.c_str());
    }
  }
};

LineEditor::LineEditor(std::filesystem::path history_file) : state_(std::make_unique<State>()) {
  state_->history_file = std::move(history_file);
  state_->history.reset(history_init());
  state_->load_history();
  state_->editor.reset(el_init("edgewise", stdin, stdout, stderr));
  if (state_->editor) {
    state_->configure();
  }
}

LineEditor::~LineEditor() = default;

LineEditor::Read LineEditor::read(const std::string& prompt) {
  state_->prompt = prompt;
  state_->interrupted = false;
  if (state_->editor) {
    // Before the prompt is shown: el_gets would switch the terminal after it, and a Ctrl-D typed between is lost.
    el_set(state_->editor.get(), EL_PREP_TERM, 1);
  }
  int count = 0;
  const char* text = state_->editor ? el_gets(state_->editor.get(), &count) : nullptr;
  if (state_->interrupted) {
    std::fputc('\n', stdout);
    el_reset(state_->editor.get());
    return {Status::kInterrupted, std::move(state_->abandoned)};
  }
  if (text == nullptr || count <= 0) {
    return {Status::kEnd, {}};
  }
  std::string line(text, static_cast<std::size_t>(count));
  if (line.ends_with('\n')) {
    line.pop_back();
  }
  return {Status::kLine, std::move(line)};
}

void LineEditor::remember(const std::string& entry) {
  HistEvent event{};
  history(state_->history.get(), &event, H_ENTER, entry.c_str());
  if (state_->history_file.empty()) {
    return;
  }
  std::error_code ignored;
  std::filesystem::create_directories(state_->history_file.parent_path(), ignored);
  const mode_t before = umask(0077);  // what was said is nobody else's business
  history(state_->history.get(), &event, H_SAVE, state_->history_file.c_str());
  umask(before);
}

std::filesystem::path default_history_file() {
  const char* state = std::getenv("XDG_STATE_HOME");
  if (state != nullptr && std::filesystem::path(state).is_absolute()) {
    return std::filesystem::path(state) / "edgewise/history";
  }
  const char* home = std::getenv("HOME");
  return home != nullptr && *home != '\0'
             ? std::filesystem::path(home) / ".local/state/edgewise/history"
             : std::filesystem::path();
}

}  // namespace edgewise::app
