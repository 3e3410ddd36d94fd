// Finds tool calls in an answer while it streams: content goes on as content, calls become deltas
// (the name first, then the arguments as they come). What looks like a call and turns out not to be
// one is content: nothing is lost. Works byte by byte, so the result does not depend on how the
// text is cut. One thread.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "chat/call_object.h"
#include "chat/generation.h"
#include "chat/tool_format.h"

namespace edgewise::chat {

class ToolCallParser {
 public:
  struct Setup {
    ToolFormat format = ToolFormat::kTagged;
    std::vector<Tool> tools;
    std::function<std::string()> make_id;
  };

  explicit ToolCallParser(Setup setup);

  void push(std::string_view text, Delta& out);
  void finish(Delta& out);

  int complete_calls() const { return complete_calls_; }

  bool saw_call() const { return calls_ > 0; }

 private:
  enum class State {
    kText,     // content; `held_` may become a marker
    kOpened,   // after a marker: what form the call has is not known yet
    kName,     // Mistral's name before [ARGS]
    kCall,     // inside the JSON of one call
    kXml,      // inside <function=..>
    kBetween,  // after a call: a separator, a closing tag, or nothing of the kind
  };

  void push_char(char c, Delta& out);
  void push_text(char c, Delta& out);
  void push_opened(char c, Delta& out);
  void push_name(char c, Delta& out);
  void push_call(char c, Delta& out);
  void push_xml(char c, Delta& out);
  void push_between(char c, Delta& out);

  void begin_call(CallObject call = {});
  void end_call();
  void reject(Delta& out);  // what was taken for a call is content

  void send_start(const std::string& name, Delta& out);
  void send_arguments(std::string_view text, Delta& out);
  void send_content(std::string_view text, Delta& out);
  bool knows(const std::string& name) const;
  bool closes(std::string_view text) const;     // a closing mark, which is dropped
  bool may_close(std::string_view text) const;  // the beginning of one

  Setup setup_;
  ToolMarkers markers_;
  State state_ = State::kText;
  bool at_start_ = true;  // only white space so far: a bare JSON object may be a call
  bool bare_ = false;     // this call has no marker
  bool fenced_ = false;   // it stands between ``` marks, as small models like to write JSON
  bool list_ = false;     // inside [...]
  std::string spaces_;    // white space that is content only if content follows
  std::string held_;
  std::string raw_;  // since the last content or complete call: becomes content on reject()
  std::string name_;
  CallObject call_;
  int calls_ = 0;
  int complete_calls_ = 0;
};

}  // namespace edgewise::chat
