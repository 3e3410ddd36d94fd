// From the engine's events to what a reader sees: whole characters, no stop string, reasoning and
// tool calls apart. One for each request; used on the engine thread only.
//
//   token → characters → stop strings → reasoning | content → tool calls → Delta
#pragma once

#include <deque>
#include <optional>
#include <string>
#include <vector>

#include "chat/generation.h"
#include "chat/reasoning_parser.h"
#include "chat/stop_matcher.h"
#include "chat/tool_call_parser.h"
#include "text/stream_decoder.h"

namespace edgewise::chat {

struct AnswerSetup {
  std::vector<std::string> stop;
  bool logprobs = false;
  bool continues_text =
      false;  // the answer goes on in the middle of the prompt's text (completions)
  std::optional<ReasoningTags> reasoning;
  bool reasoning_opened = false;
  std::optional<ToolCallParser::Setup> tools;
  bool one_call_only = false;
  std::string opener;  // the beginning of a tool call that the prompt already wrote
  std::vector<std::string> shown_tokens;  // control tokens whose text the parsers need to see
};

class AnswerStream {
 public:
  AnswerStream(const text::Tokenizer& tokenizer, AnswerSetup setup, Sink sink);

  engine::Reply on_event(engine::Event event);

 private:
  // A token's log-probabilities wait until its text is out, so that both arrive together.
  struct WaitingLogprobs {
    TokenLogprobs logprobs;
    std::size_t begin = 0;  // its text within all text
    std::size_t end = 0;
  };

  engine::Reply on_token(const sampling::Draw& draw);
  void on_finish(engine::Event event);
  std::string text_of(TokenId token);
  TokenLogprobs describe(const sampling::Draw& draw) const;
  TokenText describe(TokenId token, float logprob) const;
  void take_text(std::string_view text, Delta& delta);
  void take_content(std::string_view text, Delta& delta);
  void take_logprobs(bool all, Delta& delta);
  bool deliver(const Delta& delta);
  Finish finish_of(engine::FinishReason reason) const;

  const text::Tokenizer& tokenizer_;
  AnswerSetup setup_;
  Sink sink_;
  text::StreamDecoder decoder_;
  StopMatcher stops_;
  std::optional<ReasoningParser> reasoning_;
  std::optional<ToolCallParser> calls_;
  std::deque<WaitingLogprobs> logprobs_;
  std::size_t decoded_bytes_ = 0;
  std::size_t released_bytes_ = 0;  // of the decoded ones, past the stop matcher
  bool reader_left_ = false;
};

}  // namespace edgewise::chat
