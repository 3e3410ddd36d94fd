#include "chat/tool_call_parser.h"

#include <algorithm>
#include <utility>

#include "chat/xml_call.h"

namespace edgewise::chat {
namespace {

bool is_space(char c) {
  return c == ' ' || c == '\n' || c == '\r' || c == '\t';
}

std::string_view trimmed(std::string_view text) {
  while (!text.empty() && is_space(text.front())) {
    text.remove_prefix(1);
  }
  while (!text.empty() && is_space(text.back())) {
    text.remove_suffix(1);
  }
  return text;
}

bool is_prefix_of_any(std::string_view text, const std::vector<std::string>& whole) {
  return std::any_of(whole.begin(), whole.end(),
                     [&](const std::string& w) { return std::string_view(w).starts_with(text); });
}

bool is_any(std::string_view text, const std::vector<std::string>& whole) {
  return std::find(whole.begin(), whole.end(), text) != whole.end();
}

constexpr std::size_t kLongestName = 256;
constexpr std::string_view kFence = "```";
constexpr std::string_view kJsonFence = "```json";

}  // namespace

ToolCallParser::ToolCallParser(Setup setup)
    : setup_(std::move(setup)), markers_(markers_of(setup_.format)) {}

void ToolCallParser::push(std::string_view text, Delta& out) {
  for (const char c : text) {
    push_char(c, out);
  }
}

void ToolCallParser::push_char(char c, Delta& out) {
  switch (state_) {
    case State::kText:
      return push_text(c, out);
    case State::kOpened:
      return push_opened(c, out);
    case State::kName:
      return push_name(c, out);
    case State::kCall:
      return push_call(c, out);
    case State::kXml:
      return push_xml(c, out);
    case State::kBetween:
      return push_between(c, out);
  }
}

void ToolCallParser::push_text(char c, Delta& out) {
  // Nothing but a marker can begin here with white space, so it is held apart.
  if (held_.empty() && is_space(c)) {
    spaces_.push_back(c);
    return;
  }
  if (held_.empty() && c == '{' && at_start_) {
    raw_ = std::exchange(spaces_, {});
    bare_ = true;
    fenced_ = false;
    begin_call();
    push_call(c, out);
    return;
  }
  held_.push_back(c);
  if (at_start_ && kJsonFence.starts_with(held_)) {
    if (held_ == kJsonFence) {
      raw_ = std::exchange(spaces_, {}) + std::exchange(held_, {});
      bare_ = true;
      fenced_ = true;
      list_ = false;
      state_ = State::kOpened;
    }
    return;
  }
  if (is_any(held_, markers_.open)) {
    raw_ = std::exchange(spaces_, {}) + std::exchange(held_, {});
    bare_ = false;
    fenced_ = false;
    list_ = false;
    state_ = State::kOpened;
    return;
  }
  if (is_any(held_, markers_.close) && calls_ > 0) {
    held_.clear();
    spaces_.clear();
    return;
  }
  if (is_prefix_of_any(held_, markers_.open) || is_prefix_of_any(held_, markers_.close)) {
    return;
  }
  // Not a marker: its first byte is content, the rest is looked at again.
  const std::string rest = held_.substr(1);
  send_content(std::string_view(held_).substr(0, 1), out);
  held_.clear();
  for (const char again : rest) {
    push_char(again, out);
  }
}

void ToolCallParser::push_opened(char c, Delta& out) {
  raw_.push_back(c);
  if (is_space(c)) {
    return;
  }
  if (c == '{') {
    raw_.pop_back();
    begin_call();
    push_call(c, out);
  } else if (bare_) {
    reject(out);
  } else if (c == '[' && !list_) {
    list_ = true;
  } else if (c == '<' && setup_.format == ToolFormat::kTagged && !list_) {
    name_.assign(1, c);
    state_ = State::kXml;
  } else if (setup_.format == ToolFormat::kMistral && !list_) {
    name_.assign(1, c);
    state_ = State::kName;
  } else {
    reject(out);
  }
}

// name[ARGS]{..}, name[CALL_ID]id[ARGS]{..} and, as some write it, name{..}
void ToolCallParser::push_name(char c, Delta& out) {
  raw_.push_back(c);
  name_.push_back(c);
  if (c != '{') {
    if (name_.size() > kLongestName || c == '\n') {
      reject(out);
    }
    return;
  }
  std::string name = name_.substr(0, name_.size() - 1);
  name.resize(std::min(name.find('['), name.size()));
  name = std::string(trimmed(name));
  const bool plain = !name.empty() && name.find_first_of(" \t\"'<>{}") == std::string::npos;
  if (!plain) {
    reject(out);
    return;
  }
  raw_.pop_back();
  begin_call(CallObject(std::move(name)));
  push_call(c, out);
}

void ToolCallParser::begin_call(CallObject call) {
  call_ = std::move(call);
  state_ = State::kCall;
}

void ToolCallParser::push_call(char c, Delta& out) {
  raw_.push_back(c);
  const CallObject::Status status = call_.push(c, /*strict=*/bare_);
  const bool unknown = bare_ && call_.name().has_value() && !knows(*call_.name());
  if (status == CallObject::Status::kNotACall || unknown) {
    reject(out);
    return;
  }
  if (call_.is_recognized()) {
    if (!call_.arguments_taken()) {
      send_start(*call_.name(), out);
    }
    send_arguments(call_.take_arguments(), out);
  }
  if (status == CallObject::Status::kComplete) {
    end_call();
  }
}

void ToolCallParser::end_call() {
  ++complete_calls_;
  call_ = CallObject();
  raw_.clear();
  at_start_ = false;
  state_ = State::kBetween;
}

void ToolCallParser::push_xml(char c, Delta& out) {
  raw_.push_back(c);
  name_.push_back(c);
  static constexpr std::string_view kBegin = "<function=";
  const auto seen = std::string_view(name_).substr(0, kBegin.size());
  if (!kBegin.starts_with(seen)) {
    reject(out);
    return;
  }
  if (!name_.ends_with("</function>")) {
    return;
  }
  const auto parsed = parse_xml_call(name_, setup_.tools);
  if (!parsed) {
    reject(out);
    return;
  }
  send_start(parsed->name, out);
  send_arguments(parsed->arguments, out);
  end_call();
}

void ToolCallParser::push_between(char c, Delta& out) {
  raw_.push_back(c);
  const std::string_view text = trimmed(raw_);
  if (text.empty()) {
    return;
  }
  if (list_) {
    if (text == ",") {
      return;
    }
    if (text == "]") {
      list_ = false;
      raw_.clear();
      state_ = State::kText;
      return;
    }
    if (c == '{' && text.starts_with(',')) {
      raw_.pop_back();
      begin_call();
      push_call(c, out);
      return;
    }
    reject(out);
    return;
  }
  if (c == '{' && (text == "{" || ((bare_ || setup_.format == ToolFormat::kLlama) &&
                                   (text.front() == ';' || text.front() == ',')))) {
    raw_.pop_back();
    begin_call();
    push_call(c, out);
    return;
  }
  if (closes(text)) {
    raw_.clear();
    state_ = State::kText;
    return;
  }
  const bool separator =
      (bare_ || setup_.format == ToolFormat::kLlama) && (text == ";" || text == ",");
  if (!separator && !may_close(text)) {
    // Not part of this call: text, or the next marker.
    const std::string again = std::exchange(raw_, {});
    state_ = State::kText;
    for (const char next : again) {
      push_char(next, out);
    }
  }
}

void ToolCallParser::reject(Delta& out) {
  state_ = State::kText;
  list_ = false;
  if (call_.arguments_taken()) {
    // Its beginning is out as a call and can not be taken back; the rest is not hidden.
    send_content(call_.rest(), out);
    raw_.clear();
    call_ = CallObject();
    return;
  }
  call_ = CallObject();
  send_content(std::exchange(raw_, {}), out);
}

void ToolCallParser::finish(Delta& out) {
  const bool in_started_call = state_ == State::kCall && call_.arguments_taken();
  if (state_ == State::kBetween) {
    const std::string_view text = trimmed(raw_);
    if (text.empty() || may_close(text)) {
      raw_.clear();
    }
  }
  if (!in_started_call && !raw_.empty()) {
    send_content(std::exchange(raw_, {}), out);
  }
  if (!held_.empty()) {
    send_content(std::exchange(held_, {}), out);
  }
  if (calls_ == 0 && !spaces_.empty()) {
    out.content += std::exchange(spaces_, {});
  }
}

void ToolCallParser::send_start(const std::string& name, Delta& out) {
  ToolCallDelta delta;
  delta.index = calls_++;
  delta.id = setup_.make_id();
  delta.name = name;
  out.tool_calls.push_back(std::move(delta));
}

void ToolCallParser::send_arguments(std::string_view text, Delta& out) {
  if (text.empty()) {
    return;
  }
  const int index = calls_ - 1;
  if (out.tool_calls.empty() || out.tool_calls.back().index != index) {
    ToolCallDelta delta;
    delta.index = index;
    out.tool_calls.push_back(std::move(delta));
  }
  out.tool_calls.back().arguments += text;
}

void ToolCallParser::send_content(std::string_view text, Delta& out) {
  at_start_ = false;
  out.content += std::exchange(spaces_, {});
  out.content += text;
}

bool ToolCallParser::closes(std::string_view text) const {
  return is_any(text, markers_.close) || (fenced_ && text == kFence);
}

bool ToolCallParser::may_close(std::string_view text) const {
  return is_prefix_of_any(text, markers_.close) || (fenced_ && kFence.starts_with(text));
}

bool ToolCallParser::knows(const std::string& name) const {
  return std::any_of(setup_.tools.begin(), setup_.tools.end(),
                     [&](const Tool& tool) { return tool.name == name; });
}

}  // namespace edgewise::chat
