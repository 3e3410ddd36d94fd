// From OpenAI's messages and tools to the variables of a model's chat template. Templates differ in
// what they can show: some want a call's arguments as an object and some as text, some know no
// tools at all. What a template does is found by rendering a small conversation once, and what it
// does not show is written into the messages. Immutable; any thread.
#pragma once

#include <string>
#include <string_view>

#include "base/result.h"
#include "chat/generation.h"
#include "chat/tool_format.h"
#include "text/chat_template.h"

namespace edgewise::chat {

struct TemplateAbilities {
  bool shows_tools = false;        // renders the list of tools
  bool shows_calls = false;        // renders an assistant's tool_calls
  bool shows_results = false;      // renders messages of the role "tool"
  bool arguments_as_text = false;  // wants a call's arguments as JSON text, not as an object
  bool knows_developer = false;    // the role "developer"; else it is rendered as "system"
};

TemplateAbilities probe_template(const text::ChatTemplate& chat_template,
                                 std::string_view bos_text,
                                 std::string_view eos_text);

struct TemplateText {
  std::string_view bos;
  std::string_view eos;
};

// The template's variables as one JSON object. `show_tools` false: as if the request had none.
Result<std::string> template_context(const ChatInput& input,
                                     const TemplateAbilities& abilities,
                                     ToolFormat format,
                                     TemplateText special,
                                     bool show_tools);

}  // namespace edgewise::chat
