// A model's own Jinja chat template, rendered as Hugging Face renders it (trimmed blocks, tojson,
// raise_exception, strftime_now, loop controls). Immutable; any thread. Implementation: minijinja,
// in the crate rust/edgewise_text. Templates are hostile like every part of a model file: work,
// memory and depth are bounded.
#pragma once

#include <cstdint>
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
  // add_generation_prompt, bos_token, eos_token and whatever chat_template_kwargs adds). `tools`
  // and `documents` are none when absent, as in transformers. The template's own refusal
  // (raise_exception) and its faults are kInvalidArgument; too much work is kResourceExhausted.
  Result<std::string> render(std::string_view context_json) const;

  // The same at a given moment, which strftime_now shows in the local time zone.
  Result<std::string> render_at(std::string_view context_json, std::int64_t unix_seconds) const;

  std::string_view source() const;

 private:
  struct Impl;
  explicit ChatTemplate(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace edgewise::text
