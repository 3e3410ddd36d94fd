// GGUF marks the beginning of a word ("▁the") where WordPiece marks its continuation ("##ing");
// control tokens stay as they are. Token types: 1 normal, 3 control, 4 user-defined, 5 unused
// (gguf-py constants.py).
#include "tensor/hugging_face_wordpiece.h"

#include <array>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "platform/mapped_file.h"
#include "tensor/byte_cursor.h"
#include "tensor/json_file.h"

namespace edgewise::tensor {
namespace {

namespace fs = std::filesystem;
namespace json = boost::json;

enum TokenType : std::int64_t { kNormal = 1, kControl = 3, kUserDefined = 4, kUnused = 5 };

constexpr std::string_view kWordStart = "\xe2\x96\x81";  // U+2581
constexpr std::string_view kContinuation = "##";

struct SpecialToken {
  std::string_view config_key;
  std::string_view usual_text;
  std::array<std::string_view, 2> gguf_keys;  // the second may be empty
};

constexpr SpecialToken kSpecialTokens[] = {
    {"unk_token", "[UNK]", {"tokenizer.ggml.unknown_token_id", ""}},
    {"sep_token",
     "[SEP]",
     {"tokenizer.ggml.seperator_token_id", "tokenizer.ggml.eos_token_id"}},  // sic
    {"pad_token", "[PAD]", {"tokenizer.ggml.padding_token_id", ""}},
    {"cls_token", "[CLS]", {"tokenizer.ggml.cls_token_id", "tokenizer.ggml.bos_token_id"}},
    {"mask_token", "[MASK]", {"tokenizer.ggml.mask_token_id", ""}},
};

class Vocabulary {
 public:
  Vocabulary(fs::path source, std::int64_t size)
      : source_(std::move(source)),
        texts_(static_cast<std::size_t>(size)),
        types_(texts_.size(), kUnused) {}

  Result<void> set(std::int64_t id, std::string_view text, TokenType type) {
    if (id < 0 || id >= std::ssize(texts_)) {
      return fail(ErrorCode::kCorrupt, "{}: token {} has the id {}, but the model has {} tokens",
                  source_.string(), printable(text), id, texts_.size());
    }
    texts_[static_cast<std::size_t>(id)] = text;
    types_[static_cast<std::size_t>(id)] = type;
    ids_.insert_or_assign(std::string(text), id);
    return {};
  }

  std::optional<std::int64_t> find(std::string_view text) const {
    const auto it = ids_.find(text);
    return it == ids_.end() ? std::nullopt : std::optional(it->second);
  }

  void move_into(Metadata& metadata) {
    for (std::size_t id = 0; id < texts_.size(); ++id) {
      texts_[id] = in_gguf_form(id);
    }
    metadata.set("tokenizer.ggml.tokens", std::move(texts_));
    metadata.set("tokenizer.ggml.token_type", std::move(types_));
  }

 private:
  std::string in_gguf_form(std::size_t id) const {
    const std::string& text = texts_[id];
    if (types_[id] == kControl) {
      return text;
    }
    if (types_[id] == kUnused) {
      return fmt::format("{}[PAD{}]", kWordStart, id);
    }
    return text.starts_with(kContinuation) ? text.substr(kContinuation.size())
                                           : std::string(kWordStart) + text;
  }

  fs::path source_;
  std::vector<std::string> texts_;
  std::vector<std::int64_t> types_;
  std::map<std::string, std::int64_t, std::less<>> ids_;
};

Result<void> read_added_tokens(const JsonFile& tokenizer, Vocabulary& vocabulary) {
  const json::value* added = tokenizer.find("added_tokens");
  const json::array* list = added == nullptr ? nullptr : added->if_array();
  if (list == nullptr) {
    return {};
  }
  for (const json::value& token : *list) {
    const json::value* id = JsonFile::find_in(token, "id");
    const json::value* content = JsonFile::find_in(token, "content");
    const json::value* special = JsonFile::find_in(token, "special");
    if (id == nullptr || !id->is_int64() || content == nullptr || !content->is_string()) {
      return tokenizer.error(ErrorCode::kCorrupt,
                             "an entry of added_tokens has no id or no content");
    }
    const bool is_control = special != nullptr && special->is_bool() && special->get_bool();
    TRY_VOID(vocabulary.set(id->get_int64(), content->get_string(),
                            is_control ? kControl : kUserDefined));
  }
  return {};
}

Result<void> read_normalizer(const JsonFile& tokenizer, Metadata& metadata) {
  const json::value* normalizer = tokenizer.find("normalizer");
  const json::value* type =
      normalizer == nullptr ? nullptr : JsonFile::find_in(*normalizer, "type");
  if (type == nullptr || !type->is_string() || type->get_string() != "BertNormalizer") {
    return tokenizer.error(ErrorCode::kUnsupported, "the normalizer is not a BertNormalizer");
  }
  constexpr std::pair<std::string_view, const char*> kFlags[] = {
      {"lowercase", "tokenizer.ggml.normalizer.lowercase"},
      {"strip_accents", "tokenizer.ggml.normalizer.strip_accents"}};
  for (const auto& [key, gguf_key] : kFlags) {
    const json::value* flag = JsonFile::find_in(*normalizer, key);
    if (flag != nullptr && flag->is_bool()) {
      metadata.set(gguf_key, flag->get_bool());
    }
  }
  return {};
}

Result<void> read_tokenizer_json(const JsonFile& tokenizer,
                                 Vocabulary& vocabulary,
                                 Metadata& metadata) {
  const json::value* model = tokenizer.find("model");
  const json::value* type = model == nullptr ? nullptr : JsonFile::find_in(*model, "type");
  const json::value* prefix =
      model == nullptr ? nullptr : JsonFile::find_in(*model, "continuing_subword_prefix");
  const json::value* vocab = model == nullptr ? nullptr : JsonFile::find_in(*model, "vocab");
  const bool is_wordpiece =
      type == nullptr || (type->is_string() && type->get_string() == "WordPiece");
  const bool usual_prefix =
      prefix == nullptr || (prefix->is_string() && prefix->get_string() == kContinuation);
  if (!is_wordpiece || !usual_prefix || vocab == nullptr || !vocab->is_object()) {
    return tokenizer.error(ErrorCode::kUnsupported,
                           "the model is not a WordPiece vocabulary with the prefix \"##\"");
  }
  for (const json::key_value_pair& token : vocab->get_object()) {
    if (!token.value().is_int64()) {
      return tokenizer.error(ErrorCode::kCorrupt, "token {} of model.vocab has no id",
                             printable(token.key()));
    }
    TRY_VOID(vocabulary.set(token.value().get_int64(), token.key(), kNormal));
  }
  TRY_VOID(read_normalizer(tokenizer, metadata));
  return read_added_tokens(tokenizer, vocabulary);
}

// One token a line; the line's number is the id.
Result<void> read_vocab_txt(const fs::path& path, Vocabulary& vocabulary) {
  const platform::MappedFile file = TRY(platform::MappedFile::open(path));
  std::string_view rest(reinterpret_cast<const char*>(file.bytes().data()), file.bytes().size());
  for (std::int64_t id = 0; !rest.empty(); ++id) {
    const std::size_t length = std::min(rest.find('\n'), rest.size());
    std::string_view token = rest.substr(0, length);
    rest.remove_prefix(std::min(length + 1, rest.size()));
    if (token.ends_with('\r')) {
      token.remove_suffix(1);
    }
    TRY_VOID(vocabulary.set(id, token, kNormal));
  }
  return {};
}

// tokenizer_config.json writes a special token as "text" or as {"content": "text", ...}.
std::string special_text(const std::optional<JsonFile>& config, const SpecialToken& token) {
  const json::value* value = config ? config->find(token.config_key) : nullptr;
  if (value != nullptr && value->is_object()) {
    value = JsonFile::find_in(*value, "content");
  }
  return value != nullptr && value->is_string() ? std::string(value->get_string())
                                                : std::string(token.usual_text);
}

}  // namespace

Result<void> read_wordpiece_metadata(const fs::path& folder,
                                     std::int64_t vocab_size,
                                     Metadata& metadata) {
  const std::optional<JsonFile> tokenizer =
      TRY(JsonFile::read_if_present(folder / "tokenizer.json"));
  const std::optional<JsonFile> config =
      TRY(JsonFile::read_if_present(folder / "tokenizer_config.json"));
  const fs::path source = folder / (tokenizer ? "tokenizer.json" : "vocab.txt");
  Vocabulary vocabulary(source, vocab_size);
  if (tokenizer) {
    TRY_VOID(read_tokenizer_json(*tokenizer, vocabulary, metadata));
  } else {
    TRY_VOID(read_vocab_txt(source, vocabulary));
    metadata.set("tokenizer.ggml.normalizer.lowercase",
                 config ? TRY(config->boolean("do_lower_case")).value_or(true) : true);
  }
  for (const SpecialToken& token : kSpecialTokens) {
    const std::string text = special_text(config, token);
    const std::optional<std::int64_t> id = vocabulary.find(text);
    if (!id) {
      return fail(ErrorCode::kCorrupt, "{}: the vocabulary has no {} ({})", source.string(),
                  printable(text), token.config_key);
    }
    TRY_VOID(vocabulary.set(*id, text, kControl));
    for (const std::string_view key : token.gguf_keys) {
      if (!key.empty()) {
        metadata.set(std::string(key), *id);
      }
    }
  }
  metadata.set("tokenizer.ggml.model", std::string("bert"));
  vocabulary.move_into(metadata);
  return {};
}

}  // namespace edgewise::tensor
