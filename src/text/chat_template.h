// A model's own Jinja chat template, rendered as Hugging Face renders it (trimmed blocks, tojson,
// raise_exception, strftime_now, loop controls). Immutable; any thread. Implementation: minijinja.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "base/result.h"

namespace edgewise::text {

class ChatTemplate {
 public:
  // Compiles the template; a syntax error is an error with line and reason.
  static Result<ChatTemplate> compile(std::string_view source);
  ChatTemplate(ChatTemplate&&) noexcept;
  ChatTemplate& operator=(ChatTemplate&&) noexcept;
  ~ChatTemplate();

  // `context_json`: one JSON object whose members become the template's variables (messages, tools,
  // add_generation_prompt, bos_token, eos_token and whatever chat_template_kwargs adds).
  Result<std::string> render(std::string_view context_json) const;

  std::string_view source() const;

 private:
  struct Impl;
  explicit ChatTemplate(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace edgewise::text
