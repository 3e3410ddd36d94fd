// Splits an answer into reasoning (between tags at its beginning, as qwen3, smollm3 and the
// deepseek distillations write it) and content. Works byte by byte, so the result does not depend
// on how the text is cut. One thread.
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace edgewise::chat {

struct ReasoningTags {
  std::string open;
  std::string close;
};

// The tags that a chat template speaks of; nullopt: the family does not write reasoning.
std::optional<ReasoningTags> reasoning_tags_of(std::string_view template_source);

// Whether a rendered prompt ends with the opening tag, so that the answer begins inside.
bool opens_reasoning(std::string_view prompt, const ReasoningTags& tags);

class ReasoningParser {
 public:
  // `opened`: the prompt already wrote the opening tag.
  ReasoningParser(ReasoningTags tags, bool opened);

  // Appends what is decided to `reasoning` and `content`. White space around the reasoning is
  // dropped.
  void push(std::string_view text, std::string& reasoning, std::string& content);
  void finish(std::string& reasoning, std::string& content);

 private:
  enum class State { kStart, kReasoning, kAfter, kContent };
  void push(char c, std::string& reasoning, std::string& content);

  ReasoningTags tags_;
  State state_;
  bool seen_text_ = false;  // of the reasoning
  std::string held_;        // could become a tag, or is white space whose place is not known yet
};

}  // namespace edgewise::chat
