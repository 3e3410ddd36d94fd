#include "chat/answer_stream.h"

#include <gtest/gtest.h>

#include "chat/toy_tokenizer.h"

namespace edgewise::chat {
namespace {

struct Seen {
  std::string content;
  std::string reasoning;
  std::vector<std::string> calls;
  std::vector<TokenId> logprobs;
  std::vector<Delta> deltas;
  std::optional<Outcome> outcome;
  int outcomes = 0;
};

Sink watch(Seen& seen) {
  return {[&seen](const Delta& delta) {
            seen.content += delta.content;
            seen.reasoning += delta.reasoning;
            for (const ToolCallDelta& call : delta.tool_calls) {
              seen.calls.push_back(call.name + call.arguments);
            }
            for (const TokenLogprobs& logprobs : delta.logprobs) {
              seen.logprobs.push_back(logprobs.chosen.token);
            }
            seen.deltas.push_back(delta);
            return true;
          },
          [&seen](const Outcome& outcome) {
            seen.outcome = outcome;
            ++seen.outcomes;
          }};
}

engine::Event token_event(TokenId token) {
  engine::Event event;
  event.draw.emplace();
  event.draw->token = token;
  event.draw->logprob = -0.5F;
  event.draw->alternatives = {{token, -0.5F}, {1, -2.0F}};
  return event;
}

engine::Event end_event(engine::FinishReason reason) {
  engine::Event event;
  event.finish = reason;
  return event;
}

// As the engine does: tokens until the stream wants no more, then the end.
void run(AnswerStream& stream,
         const std::vector<TokenId>& tokens,
         engine::FinishReason natural = engine::FinishReason::kEnd) {
  for (const TokenId token : tokens) {
    const engine::Reply reply = stream.on_event(token_event(token));
    if (reply != engine::Reply::kGoOn) {
      stream.on_event(end_event(reply == engine::Reply::kGone ? engine::FinishReason::kCancelled
                                                              : engine::FinishReason::kStopped));
      return;
    }
  }
  stream.on_event(end_event(natural));
}

ToyTokenizer bytes() {
  return ToyTokenizer({}, {"<end>", "<bos>", "<|tool_call|>", "<think>", "</think>"});
}

std::vector<TokenId> encode(std::string_view text) {
  return bytes().encode(text, {});
}

TEST(AnswerStream, StopsAtAStopStringAcrossTokens) {
  const ToyTokenizer tokenizer = bytes();
  Seen seen;
  AnswerSetup setup;
  setup.stop = {"STOP"};
  AnswerStream stream(tokenizer, setup, watch(seen));
  run(stream, encode("one STO two STOP three"));
  EXPECT_EQ(seen.content, "one STO two ");
  EXPECT_EQ(seen.outcome->finish, Finish::kStop);
  EXPECT_EQ(seen.outcome->stop_string, "STOP");
  EXPECT_EQ(seen.outcomes, 1);
}

TEST(AnswerStream, FlushesWhatItHeldBackAtTheEnd) {
  const ToyTokenizer tokenizer = bytes();
  Seen seen;
  AnswerSetup setup;
  setup.stop = {"STOP"};
  AnswerStream stream(tokenizer, setup, watch(seen));
  run(stream, encode("one STO"), engine::FinishReason::kLength);
  EXPECT_EQ(seen.content, "one STO");
  EXPECT_EQ(seen.outcome->finish, Finish::kLength);
  EXPECT_FALSE(seen.outcome->stop_string.has_value());
}

TEST(AnswerStream, NeverEmitsHalfACharacter) {
  const ToyTokenizer tokenizer = bytes();
  Seen seen;
  AnswerStream stream(tokenizer, {}, watch(seen));
  run(stream, encode("\xC3\xA9\xF0\x9F\x98\x80\xE2\x82"));
  EXPECT_EQ(seen.content, "\xC3\xA9\xF0\x9F\x98\x80\xEF\xBF\xBD");
  EXPECT_EQ(seen.deltas[0].content, "\xC3\xA9");
  EXPECT_EQ(seen.deltas[1].content, "\xF0\x9F\x98\x80");
}

TEST(AnswerStream, LogprobsComeWithTheirTextAndEndWithIt) {
  const ToyTokenizer tokenizer({"a", "b", "S", "TOP", "x", "OPxy"}, {"<end>"});
  Seen seen;
  AnswerSetup setup;
  setup.stop = {"STOP"};
  setup.logprobs = true;
  AnswerStream stream(tokenizer, setup, watch(seen));
  run(stream, {0, 1, 2, 4, 0, 2, 3});
  EXPECT_EQ(seen.content, "abSxa");
  EXPECT_EQ(seen.logprobs, (std::vector<TokenId>{0, 1, 2, 4, 0}));
  for (const Delta& delta : seen.deltas) {
    std::string bytes_of_tokens;
    for (const TokenLogprobs& logprobs : delta.logprobs) {
      bytes_of_tokens += logprobs.chosen.bytes;
      EXPECT_EQ(logprobs.alternatives.size(), 2U);
      EXPECT_EQ(logprobs.alternatives[1].bytes, "b");
    }
    EXPECT_EQ(bytes_of_tokens, delta.content);
  }
}

TEST(AnswerStream, SeparatesReasoningFromContent) {
  const ToyTokenizer tokenizer = bytes();
  for (const std::string_view text : {"<think>hm</think>\n\nyes", "<thi"}) {
    Seen seen;
    AnswerSetup setup;
    setup.reasoning = ReasoningTags{"<think>", "</think>"};
    setup.shown_tokens = {"<think>", "</think>"};
    AnswerStream stream(tokenizer, setup, watch(seen));
    run(stream, encode(text));
    EXPECT_EQ(seen.reasoning, text.size() > 10 ? "hm" : "");
    EXPECT_EQ(seen.content, text.size() > 10 ? "yes" : "<thi");
  }
}

AnswerSetup tool_setup() {
  AnswerSetup setup;
  Tool tool;
  tool.name = "add";
  setup.tools = ToolCallParser::Setup{ToolFormat::kList, {tool}, [] { return "id"; }};
  setup.shown_tokens = {"<|tool_call|>"};
  return setup;
}

TEST(AnswerStream, SeesControlTokensThatMarkCalls) {
  const ToyTokenizer tokenizer = bytes();
  Seen seen;
  AnswerStream stream(tokenizer, tool_setup(), watch(seen));
  run(stream, encode("<|tool_call|>[{\"name\": \"add\", \"arguments\": {}}]"));
  std::string call;
  for (const std::string& part : seen.calls) {
    call += part;
  }
  EXPECT_EQ(call, "add{}");
  EXPECT_EQ(seen.content, "");
  EXPECT_EQ(seen.outcome->finish, Finish::kToolCalls);
}

TEST(AnswerStream, StopsAfterOneCallWhenOnlyOneIsWanted) {
  const ToyTokenizer tokenizer = bytes();
  Seen seen;
  AnswerSetup setup = tool_setup();
  setup.one_call_only = true;
  setup.opener = "<|tool_call|>[";
  AnswerStream stream(tokenizer, setup, watch(seen));
  run(stream, encode("{\"name\": \"add\", \"arguments\": {}}, {\"name\": \"add\""));
  EXPECT_EQ(seen.outcome->finish, Finish::kToolCalls);
  EXPECT_EQ(seen.content, "");
}

TEST(AnswerStream, EndsQuietlyWhenTheReaderLeaves) {
  const ToyTokenizer tokenizer = bytes();
  int deltas = 0;
  std::optional<Outcome> outcome;
  Sink sink{[&](const Delta&) {
              ++deltas;
              return deltas < 2;
            },
            [&](const Outcome& o) { outcome = o; }};
  AnswerStream stream(tokenizer, {}, std::move(sink));
  run(stream, encode("abcdef"));
  EXPECT_EQ(deltas, 2);
  EXPECT_EQ(outcome->finish, Finish::kCancelled);
}

}  // namespace
}  // namespace edgewise::chat
