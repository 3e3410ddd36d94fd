#include "sampling/grammar.h"

#include <vector>

#include "edgewise_text.h"
#include "text/tokenizer.h"

namespace edgewise::sampling {
namespace {

// Bytes that the Rust side handed out.
class RustBytes {
 public:
  RustBytes() = default;
  RustBytes(const RustBytes&) = delete;
  RustBytes& operator=(const RustBytes&) = delete;

  ~RustBytes() { edgewise_bytes_free(&bytes_); }

  edgewise_bytes* get() { return &bytes_; }

  std::string text() const { return {reinterpret_cast<const char*>(bytes_.data), bytes_.size}; }

 private:
  edgewise_bytes bytes_{};
};

tl::unexpected<Error> failure(edgewise_status status, const RustBytes& reason) {
  constexpr double kRetryAfterSeconds = 10.0;  // a guess: nobody knows how long the others take
  Error error{ErrorCode::kInvalidArgument, fmt::format("grammar: {}", reason.text())};
  if (status == EDGEWISE_INTERNAL) {
    error.code = ErrorCode::kInternal;
  } else if (status == EDGEWISE_BUSY) {
    error.code = ErrorCode::kUnavailable;
    error.retry_after_s = kRetryAfterSeconds;
  }
  return tl::unexpected(std::move(error));
}

class LlguidanceMatcher final : public GrammarMatcher {
 public:
  explicit LlguidanceMatcher(edgewise_matcher* matcher) : matcher_(matcher) {}

  LlguidanceMatcher(const LlguidanceMatcher&) = delete;
  LlguidanceMatcher& operator=(const LlguidanceMatcher&) = delete;

  ~LlguidanceMatcher() override { edgewise_matcher_free(matcher_); }

  Result<bool> mask(std::span<float> logits) override {
    RustBytes reason;
    std::size_t allowed = 0;
    const edgewise_status status =
        edgewise_matcher_mask(matcher_, logits.data(), logits.size(), &allowed, reason.get());
    if (status != EDGEWISE_OK) {
      return failure(status, reason);
    }
    return allowed > 0;
  }

  Result<void> accept(TokenId token) override {
    RustBytes reason;
    const edgewise_status status =
        edgewise_matcher_accept(matcher_, static_cast<std::uint32_t>(token), reason.get());
    if (status != EDGEWISE_OK) {
      return failure(status, reason);
    }
    return {};
  }

  bool is_complete() const override { return edgewise_matcher_is_complete(matcher_) == 1; }

 private:
  edgewise_matcher* matcher_;
};

edgewise_grammar_kind kind_of(GrammarSpec::Kind kind) {
  switch (kind) {
    case GrammarSpec::Kind::kRegex:
      return EDGEWISE_REGEX;
    case GrammarSpec::Kind::kLark:
      return EDGEWISE_LARK;
    case GrammarSpec::Kind::kGbnf:
      return EDGEWISE_GBNF;
    case GrammarSpec::Kind::kJsonSchema:
    case GrammarSpec::Kind::kJsonObject:
      return EDGEWISE_JSON_SCHEMA;
  }
  return EDGEWISE_JSON_SCHEMA;
}

class LlguidanceFactory final : public GrammarFactory {
 public:
  explicit LlguidanceFactory(edgewise_grammars* grammars) : grammars_(grammars) {}

  LlguidanceFactory(const LlguidanceFactory&) = delete;
  LlguidanceFactory& operator=(const LlguidanceFactory&) = delete;

  ~LlguidanceFactory() override { edgewise_grammars_free(grammars_); }

  Result<std::unique_ptr<GrammarMatcher>> create_matcher(const GrammarSpec& spec,
                                                         std::string_view owner) const override {
    constexpr std::string_view kAnyObject = R"({"type":"object"})";
    const std::string_view text =
        spec.kind == GrammarSpec::Kind::kJsonObject ? kAnyObject : std::string_view(spec.text);
    RustBytes reason;
    edgewise_matcher* matcher = nullptr;
    const edgewise_status status =
        edgewise_matcher_compile(grammars_, owner.data(), owner.size(), kind_of(spec.kind),
                                 text.data(), text.size(), &matcher, reason.get());
    if (status != EDGEWISE_OK) {
      return failure(status, reason);
    }
    return std::make_unique<LlguidanceMatcher>(matcher);
  }

 private:
  edgewise_grammars* grammars_;
};

}  // namespace

Result<std::shared_ptr<const GrammarFactory>> GrammarFactory::create(
    const text::Tokenizer& tokenizer) {
  std::string bytes;
  std::vector<std::size_t> offsets{0};
  std::vector<std::uint8_t> is_control;
  std::vector<std::uint32_t> end_tokens;
  for (TokenId token = 0; token < tokenizer.vocab_size(); ++token) {
    tokenizer.append_bytes(token, true, bytes);
    offsets.push_back(bytes.size());
    is_control.push_back(tokenizer.is_control(token) ? 1 : 0);
    if (tokenizer.is_end_of_generation(token)) {
      end_tokens.push_back(static_cast<std::uint32_t>(token));
    }
  }
  if (end_tokens.empty()) {
    return fail(ErrorCode::kUnsupported,
                "the model's vocabulary has no end-of-generation token, which grammars need");
  }
  RustBytes reason;
  edgewise_grammars* grammars = nullptr;
  const edgewise_status status = edgewise_grammars_create(
      reinterpret_cast<const std::uint8_t*>(bytes.data()), offsets.data(), is_control.data(),
      is_control.size(), end_tokens.data(), end_tokens.size(), &grammars, reason.get());
  if (status != EDGEWISE_OK) {
    return failure(status, reason);
  }
  return std::make_shared<LlguidanceFactory>(grammars);
}

}  // namespace edgewise::sampling
