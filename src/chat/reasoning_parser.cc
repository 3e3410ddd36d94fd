#include "chat/reasoning_parser.h"

#include <utility>

namespace edgewise::chat {
namespace {

bool is_space(char c) {
  return c == ' ' || c == '\n' || c == '\r' || c == '\t';
}

std::string_view without_leading_space(std::string_view text) {
  while (!text.empty() && is_space(text.front())) {
    text.remove_prefix(1);
  }
  return text;
}

}  // namespace

std::optional<ReasoningTags> reasoning_tags_of(std::string_view template_source) {
  static constexpr std::pair<std::string_view, std::string_view> kKnown[] = {
      {"<think>", "</think>"}, {"[THINK]", "[/THINK]"}};
  for (const auto& [open, close] : kKnown) {
    if (template_source.find(open) != std::string_view::npos ||
        template_source.find(close) != std::string_view::npos) {
      return ReasoningTags{std::string(open), std::string(close)};
    }
  }
  return std::nullopt;
}

bool opens_reasoning(std::string_view prompt, const ReasoningTags& tags) {
  while (!prompt.empty() && is_space(prompt.back())) {
    prompt.remove_suffix(1);
  }
  return prompt.ends_with(tags.open);
}

ReasoningParser::ReasoningParser(ReasoningTags tags, bool opened)
    : tags_(std::move(tags)), state_(opened ? State::kReasoning : State::kStart) {}

void ReasoningParser::push(std::string_view text, std::string& reasoning, std::string& content) {
  for (const char c : text) {
    if (state_ == State::kContent) {
      content.push_back(c);
    } else {
      push(c, reasoning, content);
    }
  }
}

void ReasoningParser::push(char c, std::string& reasoning, std::string& content) {
  held_.push_back(c);
  if (state_ == State::kAfter) {
    held_.clear();
    if (!is_space(c)) {
      content.push_back(c);
      state_ = State::kContent;
    }
    return;
  }
  if (state_ == State::kStart) {
    const std::string_view text = without_leading_space(held_);
    if (text == tags_.open) {
      held_.clear();
      state_ = State::kReasoning;
    } else if (!tags_.open.starts_with(text)) {
      content += std::exchange(held_, {});
      state_ = State::kContent;
    }
    return;
  }
  // Inside: hold white space (it may be the last before the tag) and whatever follows that may be
  // the tag.
  while (!held_.empty()) {
    const std::string_view text = without_leading_space(held_);
    if (text == tags_.close) {
      held_.clear();
      state_ = State::kAfter;
      return;
    }
    if (tags_.close.starts_with(text)) {
      return;
    }
    const std::size_t spaces = held_.size() - text.size();
    if (seen_text_) {
      reasoning.append(held_, 0, spaces);
    }
    reasoning.push_back(text.front());
    seen_text_ = true;
    held_.erase(0, spaces + 1);
  }
}

void ReasoningParser::finish(std::string& reasoning, std::string& content) {
  if (state_ == State::kReasoning) {
    if (!without_leading_space(held_).empty()) {
      reasoning += held_;
    }
  } else {
    content += held_;
  }
  held_.clear();
}

}  // namespace edgewise::chat
