// How one model holds a conversation: its templates, its tags for reasoning, its form of tool
// calls. Turns a ChatInput into a prompt and into what the answer's reader must know. Immutable;
// any thread.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "chat/answer_stream.h"
#include "chat/template_context.h"
#include "tensor/model_file.h"
#include "text/chat_template.h"
#include "text/tokenizer.h"

namespace edgewise::chat {

struct PreparedChat {
  std::vector<TokenId> prompt;
  AnswerSetup answer;
  std::optional<sampling::GrammarSpec> grammar;
};

class ChatFormat {
 public:
  // Takes the template from `override_template` or the metadata. A broken template of the model's
  // own is kept as an error for those who want to chat, so that completions still work.
  static Result<std::unique_ptr<const ChatFormat>> create(const tensor::Metadata& metadata,
                                                          const text::Tokenizer& tokenizer,
                                                          const std::string& override_template);

  bool has_template() const { return main_.has_value(); }

  Result<std::string> render(const ChatInput& input) const;
  Result<PreparedChat> prepare(const ChatInput& input,
                               const GenerationOptions& options,
                               std::int64_t context,
                               const std::function<std::uint64_t()>& random) const;

 private:
  struct Template {
    text::ChatTemplate compiled;
    TemplateAbilities abilities;
    ToolFormat tool_format;
    std::optional<ReasoningTags> reasoning;
  };

  explicit ChatFormat(const text::Tokenizer& tokenizer);
  Result<Template> compile(std::string_view source) const;
  Result<const Template*> choose(bool with_tools) const;
  Result<std::string> render_with(const Template& chosen,
                                  const ChatInput& input,
                                  bool show_tools) const;
  std::vector<TokenId> encode(const std::string& prompt) const;

  const text::Tokenizer& tokenizer_;
  std::string bos_;
  std::string eos_;
  std::optional<Result<Template>> main_;
  std::optional<Template> with_tools_;  // tokenizer.chat_template.tool_use
};

}  // namespace edgewise::chat
