#include "api/chat_format.h"

#include <fmt/format.h>

#include <chrono>
#include <optional>
#include <random>

#include "api/json_parts.h"

namespace edgewise::api {
namespace {

// {"token", "logprob", "bytes"}: `token` is shown with U+FFFD where it is only part of a character;
// `bytes` is exact.
void write_token(JsonWriter& out, const chat::TokenText& token) {
  out.key("token").string(token.bytes);
  out.key("logprob").number(token.logprob);
  out.key("bytes").begin_array();
  for (const char c : token.bytes) {
    out.integer(static_cast<unsigned char>(c));
  }
  out.end_array();
}

void write_logprobs(JsonWriter& out, const std::vector<chat::TokenLogprobs>& tokens) {
  out.key("logprobs").begin_object().key("content").begin_array();
  for (const chat::TokenLogprobs& token : tokens) {
    out.begin_object();
    write_token(out, token.chosen);
    out.key("top_logprobs").begin_array();
    for (const chat::TokenText& alternative : token.alternatives) {
      out.begin_object();
      write_token(out, alternative);
      out.end_object();
    }
    out.end_array().end_object();
  }
  out.end_array().key("refusal").null().end_object();
}

class ChatFormat final : public ReplyFormat {
 public:
  ChatFormat(ReplyIdentity identity, bool with_logprobs, bool usage_follows)
      : identity_(std::move(identity)),
        with_logprobs_(with_logprobs),
        usage_follows_(usage_follows) {}

  std::string opening(int choice) override {
    JsonWriter out;
    begin_chunk(out, choice);
    out.key("role").string("assistant").key("content").string("").key("refusal").null();
    return end_chunk(out, {}, std::nullopt);
  }

  std::string delta(int choice, const chat::Delta& delta) override {
    JsonWriter out;
    begin_chunk(out, choice);
    if (!delta.reasoning.empty()) {
      out.key("reasoning_content").string(delta.reasoning);
    }
    if (!delta.content.empty() || (delta.reasoning.empty() && delta.tool_calls.empty())) {
      out.key("content").string(delta.content);
    }
    if (!delta.tool_calls.empty()) {
      out.key("tool_calls").begin_array();
      for (const chat::ToolCallDelta& call : delta.tool_calls) {
        write_call_delta(out, call);
      }
      out.end_array();
    }
    return end_chunk(out, delta.logprobs, std::nullopt);
  }

  std::string finish(int choice, chat::Finish finish) override {
    JsonWriter out;
    begin_chunk(out, choice);
    return end_chunk(out, {}, finish);
  }

  std::string usage(const UsageTotals& usage) override {
    JsonWriter out;
    begin_reply(out, identity_, "chat.completion.chunk");
    out.key("choices").begin_array().end_array();
    write_usage(out, usage);
    out.end_object();
    return out.take();
  }

  std::string body(const std::vector<FoldedChoice>& choices, const UsageTotals& usage) override {
    JsonWriter out;
    begin_reply(out, identity_, "chat.completion");
    out.key("choices").begin_array();
    for (std::size_t i = 0; i < choices.size(); ++i) {
      write_choice(out, static_cast<int>(i), choices[i]);
    }
    out.end_array();
    write_usage(out, usage);
    out.key("service_tier").string("default");
    out.end_object();
    return out.take();
  }

 private:
  void begin_chunk(JsonWriter& out, int choice) const {
    begin_reply(out, identity_, "chat.completion.chunk");
    out.key("choices")
        .begin_array()
        .begin_object()
        .key("index")
        .integer(choice)
        .key("delta")
        .begin_object();
  }

  std::string end_chunk(JsonWriter& out,
                        const std::vector<chat::TokenLogprobs>& logprobs,
                        std::optional<chat::Finish> finish) const {
    out.end_object();
    if (with_logprobs_ && !logprobs.empty()) {
      write_logprobs(out, logprobs);
    } else {
      out.key("logprobs").null();
    }
    out.key("finish_reason");
    finish ? out.string(finish_name(*finish)) : out.null();
    out.end_object().end_array();
    if (usage_follows_) {
      out.key("usage").null();
    }
    out.end_object();
    return out.take();
  }

  static void write_call_delta(JsonWriter& out, const chat::ToolCallDelta& call) {
    out.begin_object().key("index").integer(call.index);
    if (!call.id.empty()) {
      out.key("id").string(call.id).key("type").string("function");
    }
    out.key("function").begin_object();
    if (!call.name.empty()) {
      out.key("name").string(call.name);
    }
    out.key("arguments").string(call.arguments).end_object().end_object();
  }

  void write_choice(JsonWriter& out, int index, const FoldedChoice& choice) const {
    const chat::Delta& total = choice.total;
    out.begin_object().key("index").integer(index);
    out.key("message").begin_object().key("role").string("assistant").key("content");
    total.content.empty() && !total.tool_calls.empty() ? out.null() : out.string(total.content);
    out.key("refusal").null();
    if (!total.reasoning.empty()) {
      out.key("reasoning_content").string(total.reasoning);
    }
    if (!total.tool_calls.empty()) {
      out.key("tool_calls").begin_array();
      for (const chat::ToolCallDelta& call : total.tool_calls) {
        out.begin_object()
            .key("id")
            .string(call.id)
            .key("type")
            .string("function")
            .key("function")
            .begin_object();
        out.key("name")
            .string(call.name)
            .key("arguments")
            .string(call.arguments)
            .end_object()
            .end_object();
      }
      out.end_array();
    }
    out.end_object();
    if (with_logprobs_) {
      write_logprobs(out, total.logprobs);
    } else {
      out.key("logprobs").null();
    }
    out.key("finish_reason").string(finish_name(choice.finish)).end_object();
  }

  const ReplyIdentity identity_;
  const bool with_logprobs_;
  const bool usage_follows_;
};

}  // namespace

ReplyIdentity make_identity(const std::string& prefix, const ModelCard& card) {
  std::random_device random;
  ReplyIdentity identity;
  identity.id = fmt::format("{}-{:08x}{:08x}{:08x}", prefix, random(), random(), random());
  identity.created = std::chrono::duration_cast<std::chrono::seconds>(
                         std::chrono::system_clock::now().time_since_epoch())
                         .count();
  identity.model = card.id;
  identity.fingerprint = card.fingerprint;
  return identity;
}

std::unique_ptr<ReplyFormat> make_chat_format(ReplyIdentity identity,
                                              bool with_logprobs,
                                              bool usage_follows) {
  return std::make_unique<ChatFormat>(std::move(identity), with_logprobs, usage_follows);
}

}  // namespace edgewise::api
