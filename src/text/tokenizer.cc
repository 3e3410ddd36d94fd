#include "text/tokenizer.h"

#include <algorithm>
#include <cctype>
#include <functional>
#include <optional>
#include <variant>

#include "text/bpe_encoder.h"
#include "text/pre_tokenizer.h"
#include "text/sentencepiece_encoder.h"
#include "text/special_tokens.h"
#include "text/stream_decoder.h"
#include "text/unicode.h"
#include "text/vocabulary.h"
#include "text/wordpiece_encoder.h"

namespace edgewise::text {
namespace {

struct Additions {
  bool bos = false;
  bool eos = false;
  bool separator = false;
  bool space_prefix = false;
};

using Encoder = std::variant<BpeEncoder, SentencePieceEncoder, WordPieceEncoder>;

// The parts common to the families: special tokens around and inside the text, decoding, roles of
// tokens.
class ModelTokenizer final : public Tokenizer {
 public:
  ModelTokenizer(std::unique_ptr<const Vocabulary> vocabulary,
                 SpecialTokens specials,
                 Encoder encoder,
                 Additions additions)
      : vocabulary_(std::move(vocabulary)),
        specials_(std::move(specials)),
        encoder_(std::move(encoder)),
        additions_(additions),
        longest_token_(find_longest_token()) {}

  std::vector<TokenId> encode(std::string_view text, EncodeOptions options) const override {
    std::vector<TokenId> out;
    out.reserve(text.size() / 3 + 8);
    if (options.add_special && additions_.bos) {
      out.push_back(vocabulary_->special().bos);
    }
    std::string replaced;
    if (!takes_any_bytes() && !is_valid_utf8(text)) {
      replaced = replace_invalid_bytes(text);
      text = replaced;
    }
    bool after_special = true;  // also at the very beginning
    for (const Fragment& fragment : specials_.split(text, options.parse_special)) {
      if (fragment.token >= 0) {
        out.push_back(fragment.token);
      } else {
        encode_fragment(fragment.text, after_special, out);
      }
      after_special = fragment.token >= 0;
    }
    if (options.add_special && additions_.separator) {
      out.push_back(vocabulary_->special().separator);
    }
    if (options.add_special && additions_.eos) {
      out.push_back(vocabulary_->special().eos);
    }
    return out;
  }

  std::int64_t fewest_tokens(std::string_view text) const override {
    if (longest_token_ == 0 || (!takes_any_bytes() && !is_valid_utf8(text))) {
      return 0;
    }
    // Bytes that no token stands for may be left out; many vocabularies lack a few.
    const auto kept = std::ranges::count_if(
        text, [&](char c) { return vocabulary_->byte_token(static_cast<std::uint8_t>(c)) >= 0; });
    return kept / longest_token_;
  }

  void append_bytes(TokenId token, bool with_special, std::string& out) const override {
    if (vocabulary_->contains(token) &&
        (with_special || !vocabulary_->is(token, kControl | kUnknown))) {
      out += vocabulary_->piece(token);
    }
  }

  std::string decode(std::span<const TokenId> tokens, bool with_special) const override {
    StreamDecoder decoder(*this, with_special);
    std::string out;
    for (const TokenId token : tokens) {
      out += decoder.push(token);
    }
    out += decoder.finish();
    return out;
  }

  std::int64_t vocab_size() const override { return vocabulary_->size(); }

  std::string_view token_text(TokenId token) const override {
    return vocabulary_->contains(token) ? vocabulary_->text(token) : std::string_view();
  }

  bool is_control(TokenId token) const override {
    return vocabulary_->contains(token) && vocabulary_->is(token, kControl | kUnknown);
  }

  bool is_end_of_generation(TokenId token) const override {
    return vocabulary_->contains(token) && vocabulary_->is(token, kEndOfGeneration);
  }

  TokenId bos() const override { return vocabulary_->special().bos; }

  TokenId eos() const override { return vocabulary_->special().eos; }

  bool adds_bos() const override { return additions_.bos; }

  bool adds_space_prefix() const override { return additions_.space_prefix; }

 private:
  // In bytes of text. 0: any amount of white space may vanish.
  std::int64_t find_longest_token() const {
    if (std::holds_alternative<WordPieceEncoder>(encoder_) || specials_.any_takes_white_space()) {
      return 0;
    }
    std::size_t longest = 0;
    for (TokenId id = 0; id < vocabulary_->size(); ++id) {
      const bool is_special = vocabulary_->is(id, kControl | kUserDefined | kUnknown);
      longest = std::max(
          {longest, vocabulary_->bytes(id).size(), is_special ? vocabulary_->text(id).size() : 0});
    }
    return static_cast<std::int64_t>(longest);
  }

  bool takes_any_bytes() const { return std::holds_alternative<SentencePieceEncoder>(encoder_); }

  void encode_fragment(std::string_view text, bool after_special, std::vector<TokenId>& out) const {
    std::string prefixed;
    if (additions_.space_prefix && after_special &&
        !std::holds_alternative<WordPieceEncoder>(encoder_)) {
      prefixed.reserve(text.size() + 1);
      prefixed.push_back(' ');
      prefixed += text;
      text = prefixed;
    }
    std::visit([&](const auto& encoder) { encoder.encode(text, out); }, encoder_);
  }

  std::unique_ptr<const Vocabulary> vocabulary_;  // the parts below point to it
  SpecialTokens specials_;
  Encoder encoder_;
  Additions additions_;
  std::int64_t longest_token_;
};

Result<bool> boolean_or(const tensor::Metadata& metadata, std::string_view key, bool fallback) {
  return TRY(metadata.boolean(key)).value_or(fallback);
}

// Files do not say which special tokens take white space with them; these models are known to
// (after llama.cpp).
Result<std::vector<SpecialTokens::Strip>> find_strips(const tensor::Metadata& metadata,
                                                      const Vocabulary& vocabulary) {
  const std::string pre = TRY(metadata.string("tokenizer.ggml.pre")).value_or("");
  std::string name = TRY(metadata.string("general.name")).value_or("");
  std::transform(name.begin(), name.end(), name.begin(),
                 [](unsigned char c) { return std::tolower(c); });
  const auto is_one_of = [](std::string_view text, std::initializer_list<std::string_view> list) {
    return std::find(list.begin(), list.end(), text) != list.end();
  };
  const bool jina = pre.find("jina-v2-de") != std::string::npos ||
                    pre.find("jina-v2-es") != std::string::npos ||
                    pre.find("jina-v2-code") != std::string::npos;
  const bool phi3 =
      name.find("phi-3") != std::string::npos || name.find("phi3") != std::string::npos;
  const bool modern_bert = name.find("modern-bert") != std::string::npos;
  std::vector<SpecialTokens::Strip> strips;
  for (TokenId id = 0; (jina || phi3 || modern_bert) && id < vocabulary.size(); ++id) {
    const std::string_view text = vocabulary.text(id);
    if ((jina && text == "<mask>") || (!jina && !phi3 && modern_bert && text == "[MASK]")) {
      strips.push_back({id, true, false});
    } else if (!jina && phi3 && vocabulary.is(id, kControl | kUserDefined | kUnknown) &&
               !is_one_of(text, {"<unk>", "<s>", "<|endoftext|>"})) {
      strips.push_back({id, false, true});
    }
  }
  return strips;
}

struct Family {
  Spelling spelling;
  SpecialIds default_ids;
  Additions additions;
};

Result<std::unique_ptr<const Tokenizer>> assemble(
    const tensor::Metadata& metadata,
    Family family,
    const std::function<Result<Encoder>(const Vocabulary&)>& make_encoder) {
  auto vocabulary = std::make_unique<const Vocabulary>(
      TRY(Vocabulary::create(metadata, family.spelling, family.default_ids)));
  Encoder encoder = TRY(make_encoder(*vocabulary));
  SpecialTokens specials(*vocabulary, TRY(find_strips(metadata, *vocabulary)));
  Additions additions = family.additions;
  const SpecialIds& ids = vocabulary->special();
  additions.bos =
      TRY(boolean_or(metadata, "tokenizer.ggml.add_bos_token", additions.bos)) && ids.bos >= 0;
  additions.eos =
      TRY(boolean_or(metadata, "tokenizer.ggml.add_eos_token", additions.eos)) && ids.eos >= 0;
  additions.separator = additions.separator && ids.separator >= 0;
  if (std::holds_alternative<WordPieceEncoder>(encoder)) {
    additions.space_prefix = true;  // its first word begins with a mark, whatever the file says
  } else {
    additions.space_prefix =
        TRY(boolean_or(metadata, "tokenizer.ggml.add_space_prefix", additions.space_prefix));
  }
  return std::unique_ptr<const Tokenizer>(std::make_unique<ModelTokenizer>(
      std::move(vocabulary), std::move(specials), std::move(encoder), additions));
}

Result<std::unique_ptr<const Tokenizer>> create_bpe(const tensor::Metadata& metadata,
                                                    std::string_view default_pre) {
  const std::string pre =
      TRY(metadata.string("tokenizer.ggml.pre")).value_or(std::string(default_pre));
  PreTokenizer pre_tokenizer = TRY(PreTokenizer::create(pre));
  const PreTokenizer::Traits traits = pre_tokenizer.traits();
  const Family family{traits.space_marks ? Spelling::kSpaceMarks : Spelling::kByteCharacters,
                      {},
                      {.bos = traits.adds_bos}};
  return assemble(metadata, family, [&](const Vocabulary& vocabulary) -> Result<Encoder> {
    return Encoder(TRY(BpeEncoder::create(metadata, vocabulary, std::move(pre_tokenizer))));
  });
}

Result<std::unique_ptr<const Tokenizer>> create_sentencepiece(const tensor::Metadata& metadata) {
  const Family family{Spelling::kSpaceMarks,
                      {.bos = 1, .eos = 2, .unknown = 0},
                      {.bos = true, .space_prefix = true}};
  return assemble(metadata, family, [](const Vocabulary& vocabulary) -> Result<Encoder> {
    return Encoder(SentencePieceEncoder(vocabulary));
  });
}

Result<std::unique_ptr<const Tokenizer>> create_wordpiece(const tensor::Metadata& metadata) {
  WordPieceEncoder::Normalization normalization;
  normalization.lowercase = TRY(boolean_or(metadata, "tokenizer.ggml.normalizer.lowercase", true));
  normalization.strip_accents =
      TRY(boolean_or(metadata, "tokenizer.ggml.normalizer.strip_accents", normalization.lowercase));
  const Family family{Spelling::kSpaceMarks,
                      {.bos = 101, .unknown = 100, .separator = 102},
                      {.bos = true, .separator = true}};
  return assemble(metadata, family, [&](const Vocabulary& vocabulary) -> Result<Encoder> {
    return Encoder(WordPieceEncoder(vocabulary, normalization));
  });
}

}  // namespace

Result<std::unique_ptr<const Tokenizer>> Tokenizer::create(const tensor::Metadata& metadata) {
  const std::optional<std::string> model = TRY(metadata.string("tokenizer.ggml.model"));
  if (!model) {
    return fail(ErrorCode::kCorrupt, "tokenizer.ggml.model is missing: the file has no tokenizer");
  }
  if (*model == "gpt2") {
    return create_bpe(metadata, "default");
  }
  if (*model == "gemma4") {
    return create_bpe(metadata, "gemma4");
  }
  if (*model == "llama") {
    return create_sentencepiece(metadata);
  }
  if (*model == "bert") {
    return create_wordpiece(metadata);
  }
  return fail(ErrorCode::kUnsupported,
              "tokenizer.ggml.model is \"{}\", which is not supported; supported are: gpt2, llama, "
              "bert, gemma4",
              *model);
}

}  // namespace edgewise::text
