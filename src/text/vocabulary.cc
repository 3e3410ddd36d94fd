#include "text/vocabulary.h"

#include <algorithm>
#include <cmath>
#include <optional>

#include "base/log.h"

namespace edgewise::text {
namespace {

constexpr std::size_t kMostTokens = std::size_t{1}
                                    << 24;  // ids stay far below 2^31; the largest known: 262,208
constexpr std::size_t kMostBytes = std::size_t{1} << 31;  // offsets are 32 bits

// "<0x0A>" -> 10
std::optional<std::uint8_t> byte_token_value(std::string_view text) {
  const auto digit = [](char c) {
    return c >= '0' && c <= '9'   ? c - '0'
           : c >= 'A' && c <= 'F' ? c - 'A' + 10
           : c >= 'a' && c <= 'f' ? c - 'a' + 10
                                  : -1;
  };
  if (text.size() != 6 || text.substr(0, 3) != "<0x" || text[5] != '>' || digit(text[3]) < 0 ||
      digit(text[4]) < 0) {
    return std::nullopt;
  }
  return static_cast<std::uint8_t>(digit(text[3]) * 16 + digit(text[4]));
}

std::uint8_t kind_of_gguf_type(std::int64_t type) {
  switch (type) {
    case 1:
      return kNormal;
    case 2:
      return kUnknown;
    case 3:
      return kControl;
    case 4:
      return kUserDefined;
    case 5:
      return kUnused;
    case 6:
      return kByte;
    default:
      return kUndefined;
  }
}

// An id from the metadata; absent when the key is, or when it holds the "none" of some converters
// (all ones).
Result<std::optional<TokenId>> read_id(const tensor::Metadata& metadata,
                                       std::string_view key,
                                       std::int64_t vocab_size) {
  const std::optional<std::int64_t> value = TRY(metadata.integer(key));
  if (!value || *value == -1 || *value == 0xFFFFFFFF) {
    return std::optional<TokenId>();
  }
  if (*value < 0 || *value >= vocab_size) {
    return fail(ErrorCode::kCorrupt, "{} is {}, but the vocabulary has {} tokens", key, *value,
                vocab_size);
  }
  return std::optional<TokenId>(static_cast<TokenId>(*value));
}

// Texts that mean "the turn is over" wherever they occur in a vocabulary, whatever type the file
// gives them: the formats of the model families do not mark them. The list is llama.cpp's, so that
// the same files stop alike.
constexpr std::string_view kEndTexts[] = {"<|eot_id|>",
                                          "<|im_end|>",
                                          "<|end|>",
                                          "<|return|>",
                                          "<|call|>",
                                          "<|flush|>",
                                          "<|calls|>",
                                          "<end_of_turn>",
                                          "<|endoftext|>",
                                          "</s>",
                                          "<|eom_id|>",
                                          "<EOT>",
                                          "_<EOT>",
                                          "[EOT]",
                                          "[EOS]",
                                          "<|end_of_text|>",
                                          "<end_of_utterance>",
                                          "<eos>",
                                          "<turn|>",
                                          "<|tool_response>",
                                          "<｜end▁of▁sentence｜>",
                                          "[e~["};

// Of these the first found names the end-of-turn token when the metadata does not.
constexpr std::string_view kEndOfTurnTexts[] = {
    "<|eot_id|>",        "<|im_end|>", "<|end|>", "<end_of_turn>", "<|endoftext|>",
    "<|end_of_text|>",   "<EOT>",      "_<EOT>",  "[EOT]",         "<｜end▁of▁sentence｜>",
    "<end_of_utterance>"};

// Padding, repository and file marks of fill-in-the-middle training: a model that writes one has
// left the answer.
constexpr std::string_view kFillPaddingTexts[] = {"<|fim_pad|>", "<fim-pad>", "<fim_pad>", "<PAD>",
                                                  "[PAD]"};
constexpr std::string_view kFillRepositoryTexts[] = {"<|fim_repo|>", "<|repo_name|>", "<fim-repo>",
                                                     "<REPO>", "<reponame>"};
constexpr std::string_view kFillSeparatorTexts[] = {"<|file_sep|>"};

// Prompt marks of fill-in-the-middle: control tokens whatever the file says.
constexpr std::string_view kFillPromptTexts[] = {
    "<|fim_prefix|>", "<fim-prefix>",    "<fim_prefix>",    "<｜fim▁begin｜>", "<PRE>",
    "▁<PRE>",         "<|code_prefix|>", "<|prefix|>",      "<|fim_suffix|>",  "<fim-suffix>",
    "<fim_suffix>",   "<｜fim▁hole｜>",  "<SUF>",           "▁<SUF>",          "<|code_suffix|>",
    "<|suffix|>",     "<|fim_middle|>",  "<fim-middle>",    "<fim_middle>",    "<｜fim▁end｜>",
    "<MID>",          "▁<MID>",          "<|code_middle|>", "<|middle|>"};

// Channel marks of gpt-oss: part of the text that a reader of the format needs.
constexpr std::string_view kShownTexts[] = {"<|channel|>", "<|message|>", "<|start|>",
                                            "<|constrain|>"};

template <std::size_t N>
bool contains(const std::string_view (&list)[N], std::string_view text) {
  return std::find(std::begin(list), std::end(list), text) != std::end(list);
}

}  // namespace

Result<Vocabulary> Vocabulary::create(const tensor::Metadata& metadata,
                                      Spelling spelling,
                                      SpecialIds defaults) {
  Vocabulary vocabulary;
  TRY_VOID(vocabulary.read_texts(metadata));
  TRY_VOID(vocabulary.read_kinds(metadata));
  TRY_VOID(vocabulary.read_scores(metadata));
  vocabulary.spell_bytes(spelling);
  TRY_VOID(vocabulary.find_byte_tokens(spelling));
  TRY_VOID(vocabulary.read_special_ids(metadata, defaults));
  vocabulary.mark_by_text();
  return vocabulary;
}

Result<void> Vocabulary::read_texts(const tensor::Metadata& metadata) {
  const tensor::TextList* tokens = metadata.strings("tokenizer.ggml.tokens");
  if (tokens == nullptr || tokens->empty()) {
    return fail(ErrorCode::kCorrupt,
                "tokenizer.ggml.tokens is missing or empty: the model has no vocabulary");
  }
  if (tokens->size() > kMostTokens) {
    return fail(ErrorCode::kCorrupt,
                "tokenizer.ggml.tokens has {} entries; at most {} are supported", tokens->size(),
                kMostTokens);
  }
  const std::size_t total = tokens->total_bytes();
  if (total > kMostBytes) {
    return fail(ErrorCode::kCorrupt,
                "the texts of tokenizer.ggml.tokens take {} bytes; at most {} are supported", total,
                kMostBytes);
  }
  texts_.reserve(total);
  text_ends_.reserve(tokens->size());
  for (std::size_t i = 0; i < tokens->size(); ++i) {
    texts_ += (*tokens)[i];
    text_ends_.push_back(static_cast<std::uint32_t>(texts_.size()));
  }
  return {};
}

Result<void> Vocabulary::read_kinds(const tensor::Metadata& metadata) {
  const std::size_t count = text_ends_.size();
  kinds_.assign(count, kNormal);
  if (metadata.find("tokenizer.ggml.token_type") == nullptr) {
    return {};
  }
  const std::vector<std::int64_t>* types = metadata.integers("tokenizer.ggml.token_type");
  if (types == nullptr || types->size() != count) {
    return fail(ErrorCode::kCorrupt,
                "tokenizer.ggml.token_type is not an array of {} integers, one per token", count);
  }
  for (std::size_t i = 0; i < count; ++i) {
    kinds_[i] = kind_of_gguf_type((*types)[i]);
  }
  return {};
}

Result<void> Vocabulary::read_scores(const tensor::Metadata& metadata) {
  constexpr std::string_view kKey = "tokenizer.ggml.scores";
  if (metadata.find(kKey) == nullptr) {
    return {};
  }
  if (const std::vector<float>* scores = metadata.floats(kKey)) {
    scores_ = *scores;
  } else if (const std::vector<std::int64_t>* integers = metadata.integers(kKey)) {
    scores_.assign(integers->begin(), integers->end());
  }
  if (scores_.size() != text_ends_.size()) {
    return fail(ErrorCode::kCorrupt, "{} has {} numbers for {} tokens", kKey, scores_.size(),
                text_ends_.size());
  }
  for (std::size_t i = 0; i < scores_.size(); ++i) {
    if (std::isnan(scores_[i])) {
      return fail(ErrorCode::kCorrupt, "{}[{}] is not a number", kKey, i);
    }
  }
  return {};
}

void Vocabulary::spell_bytes(Spelling spelling) {
  const std::size_t count = text_ends_.size();
  bytes_.reserve(texts_.size());
  byte_ends_.reserve(count);
  table_ = StringTable(count);
  const auto key_of = [this](TokenId id) { return bytes(id); };
  for (std::size_t i = 0; i < count; ++i) {
    const auto id = static_cast<TokenId>(i);
    const bool reachable = append_spelled(spelling, text(id), bytes_);
    byte_ends_.push_back(static_cast<std::uint32_t>(bytes_.size()));
    if (reachable && !bytes(id).empty()) {
      table_.insert(bytes(id), id, key_of);
    }
  }
}

Result<void> Vocabulary::find_byte_tokens(Spelling spelling) {
  byte_tokens_.assign(256, -1);
  byte_values_.resize(256);
  for (std::size_t byte = 0; byte < 256; ++byte) {
    byte_values_[byte] = static_cast<char>(byte);
    byte_tokens_[byte] = find(std::string_view(byte_values_).substr(byte, 1));
    if (spelling == Spelling::kSpaceMarks) {
      const TokenId named = find(fmt::format("<0x{:02X}>", byte));
      byte_tokens_[byte] = named >= 0 ? named : byte_tokens_[byte];
    }
  }
  for (TokenId id = 0; id < size(); ++id) {
    if (is(id, kByte) && !byte_token_value(text(id))) {
      return fail(ErrorCode::kCorrupt,
                  "token {} is of type byte, but its text is not of the form <0x0A>", id);
    }
  }
  return {};
}

Result<void> Vocabulary::read_special_ids(const tensor::Metadata& metadata, SpecialIds defaults) {
  struct Entry {
    std::string_view key;
    TokenId* id;
  };

  special_ = defaults;
  for (TokenId* id : {&special_.bos, &special_.eos, &special_.unknown, &special_.separator}) {
    *id = contains(*id) ? *id : -1;
  }
  const Entry entries[] = {
      {"tokenizer.ggml.bos_token_id", &special_.bos},
      {"tokenizer.ggml.eos_token_id", &special_.eos},
      {"tokenizer.ggml.unknown_token_id", &special_.unknown},
      {"tokenizer.ggml.seperator_token_id", &special_.separator},
      {"tokenizer.ggml.eot_token_id", &special_.end_of_turn},
      {"tokenizer.ggml.eom_token_id", &special_.end_of_message},
  };
  for (const Entry& entry : entries) {
    if (metadata.find(entry.key) != nullptr) {
      *entry.id = TRY(read_id(metadata, entry.key, size())).value_or(-1);
    }
  }
  for (const std::string_view key :
       {"tokenizer.ggml.fim_pad_token_id", "tokenizer.ggml.fim_rep_token_id",
        "tokenizer.ggml.fim_sep_token_id"}) {
    fill_ids_.push_back(TRY(read_id(metadata, key, size())).value_or(-1));
  }
  return {};
}

// The kinds that a file leaves to the reader's knowledge of the texts (after llama.cpp's
// llama_vocab::load).
void Vocabulary::mark_by_text() {
  const bool end_of_turn_known = special_.end_of_turn >= 0;
  for (TokenId id = 0; id < size(); ++id) {
    const std::string_view token = text(id);
    // All the names begin with one of these; the test spares 99 % of the comparisons.
    if (token.size() < 4 || token.size() > 32 ||
        std::string_view("<[_\xE2").find(token[0]) == std::string_view::npos) {
      continue;
    }
    if (!end_of_turn_known && special_.end_of_turn < 0 && text::contains(kEndOfTurnTexts, token)) {
      special_.end_of_turn = id;
    }
    if (special_.end_of_message < 0 && token == "<|eom_id|>") {
      special_.end_of_message = id;
    }
    // In many vocabularies "</s>" is only the end of struck-out HTML text.
    if (token == "</s>" && kind(id) == kNormal) {
      continue;
    }
    const auto is_first = [&](std::size_t fill, const auto& texts) {
      return fill_ids_[fill] < 0 && text::contains(texts, token);
    };
    if (is_first(0, kFillPaddingTexts)) {
      fill_ids_[0] = id;
      mark(id, kControl);
    } else if (is_first(1, kFillRepositoryTexts)) {
      fill_ids_[1] = id;
      mark(id, kControl);
    } else if (is_first(2, kFillSeparatorTexts)) {
      fill_ids_[2] = id;
      mark(id, kControl);
    } else if (text::contains(kFillPromptTexts, token)) {
      mark(id, kControl);
    } else if (text::contains(kEndTexts, token)) {
      mark(id, kControl | kEndOfGeneration);
    } else if (text::contains(kShownTexts, token)) {
      kinds_[static_cast<std::size_t>(id)] = kUserDefined;
    }
  }
  for (const TokenId id : {fill_ids_[0], fill_ids_[1], fill_ids_[2], special_.eos,
                           special_.end_of_turn, special_.end_of_message}) {
    if (id >= 0) {
      mark(id, kEndOfGeneration);
    }
  }
  unmark_channel_end();
}

// In the formats that end a message by <|return|> or a call mark, <|end|> only closes one channel
// of it.
void Vocabulary::unmark_channel_end() {
  TokenId end = -1;
  bool returns = false, calls = false, flushes = false;
  for (TokenId id = 0; id < size(); ++id) {
    if (is(id, kEndOfGeneration)) {
      const std::string_view token = text(id);
      end = token == "<|end|>" ? id : end;
      returns |= token == "<|return|>";
      calls |= token == "<|call|>" || token == "<|calls|>";
      flushes |= token == "<|flush|>";
    }
  }
  if (end >= 0 && calls && (returns || flushes)) {
    kinds_[static_cast<std::size_t>(end)] = kUserDefined;
  }
}

std::string_view Vocabulary::piece(TokenId id) const {
  if (is(id, kControl | kUnknown | kUserDefined)) {
    return text(id);
  }
  if (is(id, kByte)) {
    return std::string_view(byte_values_).substr(*byte_token_value(text(id)), 1);
  }
  if (is(id, kNormal)) {
    // A normal token that ordinary text can not spell stands for its own text.
    return bytes(id).empty() ? text(id) : bytes(id);
  }
  return {};
}

}  // namespace edgewise::text
