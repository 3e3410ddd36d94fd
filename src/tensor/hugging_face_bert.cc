#include "tensor/hugging_face_bert.h"

#include <array>
#include <charconv>
#include <utility>

#include "tensor/byte_cursor.h"
#include "tensor/hugging_face_wordpiece.h"
#include "tensor/json_file.h"

namespace edgewise::tensor {
namespace {

namespace fs = std::filesystem;
namespace json = boost::json;

using NamePair = std::pair<std::string_view, std::string_view>;

constexpr std::array kModelNames = {
    NamePair("embeddings.word_embeddings", "token_embd"),
    NamePair("embeddings.token_type_embeddings", "token_types"),
    NamePair("embeddings.position_embeddings", "position_embd"),
    NamePair("embeddings.LayerNorm", "token_embd_norm"),
};

// After "encoder.layer.N." and "blk.N.".
constexpr std::array kLayerNames = {
    NamePair("attention.self.query", "attn_q"),
    NamePair("attention.self.key", "attn_k"),
    NamePair("attention.self.value", "attn_v"),
    NamePair("attention.output.dense", "attn_output"),
    NamePair("attention.output.LayerNorm", "attn_output_norm"),
    NamePair("intermediate.dense", "ffn_up"),
    NamePair("output.dense", "ffn_down"),
    NamePair("output.LayerNorm", "layer_output_norm"),
};

template <std::size_t N>
std::string_view look_up(const std::array<NamePair, N>& names, std::string_view name) {
  for (const auto& [theirs, ours] : names) {
    if (theirs == name) {
      return ours;
    }
  }
  return {};
}

bool is_for_training_only(std::string_view name) {
  return name == "embeddings.position_ids" || name == "pooler.dense.weight" ||
         name == "pooler.dense.bias" || name.starts_with("cls.predictions") ||
         name.starts_with("cls.seq_relationship");
}

// Cuts "weight" or "bias" off the end; checkpoints from TensorFlow say gamma and beta.
std::string_view take_suffix(std::string_view& name) {
  constexpr NamePair kSuffixes[] = {
      {".weight", ".weight"}, {".bias", ".bias"}, {".gamma", ".weight"}, {".beta", ".bias"}};
  for (const auto& [theirs, ours] : kSuffixes) {
    if (name.ends_with(theirs)) {
      name.remove_suffix(theirs.size());
      return ours;
    }
  }
  return {};
}

// A module of sentence-transformers, e.g. "sentence_transformers.models.Pooling": the last word.
std::string_view module_kind(const json::value& module) {
  const json::value* type = JsonFile::find_in(module, "type");
  const std::string_view name =
      type != nullptr && type->is_string() ? std::string_view(type->get_string()) : "";
  return name.substr(name.rfind('.') + 1);
}

// The folder's name comes from a file: it must not lead elsewhere.
std::optional<std::string> module_folder(const json::value& module) {
  const json::value* path = JsonFile::find_in(module, "path");
  if (path == nullptr || !path->is_string()) {
    return std::nullopt;
  }
  std::string name(path->get_string());
  if (name.empty() || name == "." || name == ".." || name.find('/') != std::string::npos ||
      name.find('\0') != std::string::npos) {
    return std::nullopt;
  }
  return name;
}

// GGUF's numbers of pooling types.
Result<std::int64_t> read_pooling_type(const JsonFile& config) {
  constexpr std::pair<std::string_view, std::int64_t> kModes[] = {{"pooling_mode_mean_tokens", 1},
                                                                  {"pooling_mode_cls_token", 2},
                                                                  {"pooling_mode_lasttoken", 3}};
  constexpr std::string_view kOthers[] = {"pooling_mode_max_tokens",
                                          "pooling_mode_mean_sqrt_len_tokens",
                                          "pooling_mode_weightedmean_tokens"};
  std::int64_t type = 0;
  int modes = 0;
  for (const auto& [key, number] : kModes) {
    if (TRY(config.boolean(key)).value_or(false)) {
      type = number;
      ++modes;
    }
  }
  for (const std::string_view key : kOthers) {
    modes += TRY(config.boolean(key)).value_or(false) ? 2 : 0;
  }
  if (modes != 1) {
    return config.error(ErrorCode::kUnsupported,
                        "exactly one of mean, first-token and last-token pooling is supported");
  }
  return type;
}

// nullopt: a plain encoder, not a sentence-transformers folder.
Result<std::optional<std::int64_t>> find_pooling_type(const fs::path& folder) {
  const std::optional<JsonFile> modules = TRY(JsonFile::read_if_present(folder / "modules.json"));
  if (!modules) {
    return std::nullopt;
  }
  const json::array* list = modules->root().if_array();
  if (list == nullptr) {
    return modules->error(ErrorCode::kCorrupt, "expected a list of modules");
  }
  std::optional<std::int64_t> type;
  for (const json::value& module : *list) {
    const std::string_view kind = module_kind(module);
    if (kind == "Pooling") {
      const std::optional<std::string> name = module_folder(module);
      if (!name) {
        return modules->error(ErrorCode::kCorrupt,
                              "the pooling module's path is not the name of a folder");
      }
      type = TRY(read_pooling_type(TRY(JsonFile::read(folder / *name / "config.json"))));
    } else if (kind != "Transformer" && kind != "Normalize") {
      return modules->error(ErrorCode::kUnsupported,
                            "module {} is not supported; Transformer, Pooling and Normalize are",
                            printable(kind));
    }
  }
  return type;
}

Result<void> check_is_plain_bert(const JsonFile& config) {
  const std::string type = TRY(config.string("model_type")).value_or("");
  if (type != "bert") {
    return config.error(
        ErrorCode::kUnsupported,
        "model_type is \"{}\"; from safetensors only bert is supported, use a GGUF file for others",
        printable(type));
  }
  const std::string activation = TRY(config.string("hidden_act")).value_or("gelu");
  if (activation != "gelu") {
    return config.error(ErrorCode::kUnsupported,
                        "hidden_act is \"{}\"; for bert only gelu is supported",
                        printable(activation));
  }
  const std::string positions = TRY(config.string("position_embedding_type")).value_or("absolute");
  if (positions != "absolute") {
    return config.error(ErrorCode::kUnsupported,
                        "position_embedding_type is \"{}\"; only absolute is supported",
                        printable(positions));
  }
  if (TRY(config.boolean("is_decoder")).value_or(false)) {
    return config.error(ErrorCode::kUnsupported, "is_decoder is true; only encoders are supported");
  }
  return {};
}

}  // namespace

Result<std::optional<TensorName>> bert_tensor_name(std::string_view file, std::string_view name) {
  std::string_view rest = name;
  if (rest.starts_with("bert.")) {
    rest.remove_prefix(5);
  }
  if (is_for_training_only(rest)) {
    return std::optional<TensorName>();
  }
  const std::string_view suffix = take_suffix(rest);
  std::string prefix;
  std::string_view ours = look_up(kModelNames, rest);
  constexpr std::string_view kLayer = "encoder.layer.";
  if (ours.empty() && rest.starts_with(kLayer)) {
    rest.remove_prefix(kLayer.size());
    int layer = 0;
    const auto [end, error] = std::from_chars(rest.data(), rest.data() + rest.size(), layer);
    rest.remove_prefix(static_cast<std::size_t>(end - rest.data()));
    if (error == std::errc() && layer >= 0 && rest.starts_with('.')) {
      prefix = fmt::format("blk.{}.", layer);
      ours = look_up(kLayerNames, rest.substr(1));
    }
  }
  if (ours.empty() || suffix.empty()) {
    return fail(ErrorCode::kUnsupported, "{}: tensor {} is not part of a plain bert encoder", file,
                printable(name));
  }
  const bool keep_f32 = ours == "position_embd" || ours == "token_types";
  return std::optional<TensorName>({fmt::format("{}{}{}", prefix, ours, suffix), keep_f32});
}

Result<Metadata> read_bert_metadata(const fs::path& folder,
                                    const std::vector<std::int64_t>& embedding_shape) {
  const JsonFile config = TRY(JsonFile::read(folder / "config.json"));
  TRY_VOID(check_is_plain_bert(config));
  const std::int64_t vocabulary = TRY(config.positive_integer("vocab_size"));
  const std::int64_t width = TRY(config.positive_integer("hidden_size"));
  if (embedding_shape != std::vector<std::int64_t>{width, vocabulary}) {
    return config.error(
        ErrorCode::kCorrupt,
        "vocab_size {} and hidden_size {} do not match the word embeddings in model.safetensors",
        vocabulary, width);
  }
  Metadata metadata;
  metadata.set("general.architecture", std::string("bert"));
  metadata.set("general.name",
               TRY(config.string("_name_or_path")).value_or(folder.filename().string()));
  metadata.set("bert.vocab_size", vocabulary);
  metadata.set("bert.embedding_length", width);
  metadata.set("bert.block_count", TRY(config.positive_integer("num_hidden_layers")));
  metadata.set("bert.context_length", TRY(config.positive_integer("max_position_embeddings")));
  metadata.set("bert.feed_forward_length", TRY(config.positive_integer("intermediate_size")));
  metadata.set("bert.attention.head_count", TRY(config.positive_integer("num_attention_heads")));
  metadata.set("bert.attention.layer_norm_epsilon",
               TRY(config.number("layer_norm_eps")).value_or(1e-12));
  metadata.set("bert.attention.causal", false);
  metadata.set("tokenizer.ggml.token_type_count",
               TRY(config.integer("type_vocab_size")).value_or(1));
  if (const std::optional<std::int64_t> pooling = TRY(find_pooling_type(folder))) {
    metadata.set("bert.pooling_type", *pooling);
  }
  TRY_VOID(read_wordpiece_metadata(folder, vocabulary, metadata));
  return metadata;
}

}  // namespace edgewise::tensor
