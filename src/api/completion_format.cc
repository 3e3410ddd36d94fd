#include "api/completion_format.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <optional>
#include <set>

#include "api/json_parts.h"
#include "text/unicode.h"

namespace edgewise::api {
namespace {

// A token as the legacy format shows it: text, or "bytes:\xe2\x80" when it is only part of a
// character (OpenAI's own way out, which keeps the names of top_logprobs distinct).
std::string token_name(const std::string& bytes) {
  if (text::is_valid_utf8(bytes)) {
    return bytes;
  }
  std::string name = "bytes:";
  for (const char c : bytes) {
    fmt::format_to(std::back_inserter(name), "\\x{:02x}", static_cast<unsigned char>(c));
  }
  return name;
}

// Characters that begin in `bytes`: what a token adds to the offset of the next.
std::int64_t characters_in(const std::string& bytes) {
  return std::ranges::count_if(
      bytes, [](char c) { return (static_cast<unsigned char>(c) & 0xC0U) != 0x80U; });
}

void write_alternatives(JsonWriter& out, const chat::TokenLogprobs& token) {
  out.begin_object();
  std::set<std::string> names;  // two tokens may read the same; a JSON object cannot hold both
  const auto add = [&](const chat::TokenText& text) {
    std::string name = token_name(text.bytes);
    if (names.insert(name).second) {
      out.key(name).number(text.logprob);
    }
  };
  add(token.chosen);
  std::ranges::for_each(token.alternatives, add);
  out.end_object();
}

class CompletionFormat final : public ReplyFormat {
 public:
  CompletionFormat(ReplyIdentity identity, CompletionFormatOptions options)
      : identity_(std::move(identity)), options_(std::move(options)) {}

  std::string opening(int choice) override {
    const std::string& echo = echo_of(choice);
    return echo.empty() ? "" : chunk(choice, echo, {}, std::nullopt);
  }

  std::string delta(int choice, const chat::Delta& delta) override {
    return chunk(choice, delta.content, delta.logprobs, std::nullopt);
  }

  std::string finish(int choice, chat::Finish finish) override {
    return chunk(choice, "", {}, finish);
  }

  std::string usage(const UsageTotals& usage) override {
    JsonWriter out;
    begin_reply(out, identity_, "text_completion");
    out.key("choices").begin_array().end_array();
    write_usage(out, usage);
    out.end_object();
    return out.take();
  }

  std::string body(const std::vector<FoldedChoice>& choices, const UsageTotals& usage) override {
    JsonWriter out;
    begin_reply(out, identity_, "text_completion");
    out.key("choices").begin_array();
    for (std::size_t i = 0; i < choices.size(); ++i) {
      const FoldedChoice& choice = choices[i];
      const int index = static_cast<int>(i);
      write_choice(out, index, echo_of(index) + choice.total.content, choice.total.logprobs,
                   choice.finish);
    }
    out.end_array();
    write_usage(out, usage);
    out.end_object();
    return out.take();
  }

 private:
  const std::string& echo_of(int choice) const {
    static const std::string kNone;
    return options_.echoes.empty() ? kNone : options_.echoes[static_cast<std::size_t>(choice)];
  }

  std::string chunk(int choice,
                    const std::string& text,
                    const std::vector<chat::TokenLogprobs>& logprobs,
                    std::optional<chat::Finish> finish) {
    JsonWriter out;
    begin_reply(out, identity_, "text_completion");
    out.key("choices").begin_array();
    write_choice(out, choice, text, logprobs, finish);
    out.end_array();
    if (options_.usage_follows) {
      out.key("usage").null();
    }
    out.end_object();
    return out.take();
  }

  void write_choice(JsonWriter& out,
                    int choice,
                    const std::string& text,
                    const std::vector<chat::TokenLogprobs>& logprobs,
                    std::optional<chat::Finish> finish) {
    out.begin_object().key("index").integer(choice).key("text").string(text);
    if (options_.with_logprobs) {
      write_logprobs(out, choice, logprobs);
    } else {
      out.key("logprobs").null();
    }
    out.key("finish_reason");
    finish ? out.string(finish_name(*finish)) : out.null();
    out.end_object();
  }

  void write_logprobs(JsonWriter& out, int choice, const std::vector<chat::TokenLogprobs>& tokens) {
    out.key("logprobs").begin_object().key("tokens").begin_array();
    for (const chat::TokenLogprobs& token : tokens) {
      out.string(token_name(token.chosen.bytes));
    }
    out.end_array().key("token_logprobs").begin_array();
    for (const chat::TokenLogprobs& token : tokens) {
      out.number(token.chosen.logprob);
    }
    out.end_array().key("top_logprobs").begin_array();
    for (const chat::TokenLogprobs& token : tokens) {
      write_alternatives(out, token);
    }
    out.end_array().key("text_offset").begin_array();
    std::int64_t& offset = offsets_[choice];
    for (const chat::TokenLogprobs& token : tokens) {
      out.integer(offset);
      offset += characters_in(token.chosen.bytes);
    }
    out.end_array().end_object();
  }

  const ReplyIdentity identity_;
  const CompletionFormatOptions options_;
  std::map<int, std::int64_t> offsets_;  // characters of the tokens written so far
};

}  // namespace

std::unique_ptr<ReplyFormat> make_completion_format(ReplyIdentity identity,
                                                    CompletionFormatOptions options) {
  return std::make_unique<CompletionFormat>(std::move(identity), std::move(options));
}

}  // namespace edgewise::api
