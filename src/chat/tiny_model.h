// Test only: writes a small random llama with a byte vocabulary to a file. It talks nonsense, but
// through the whole of the program: file, tokenizer, template, model, engine.
#pragma once

#include <unistd.h>

#include <cmath>
#include <filesystem>
#include <fstream>
#include <string>

#include "tensor/gguf_test_writer.h"

namespace edgewise::chat {

inline constexpr std::string_view kChatMl =
    "{{ bos_token }}{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% "
    "endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}";

// The file is removed with this object.
class TinyModelFile {
 public:
  // Empty `chat_template`: none.
  explicit TinyModelFile(std::string_view chat_template = kChatMl) {
    path_ = std::filesystem::temp_directory_path() /
            ("edgewise-tiny-" + std::to_string(::getpid()) + ".gguf");
    add_metadata(chat_template);
    add_weights();
    const std::vector<std::byte> bytes = writer_.bytes();
    std::ofstream out(path_, std::ios::binary);
    out.write(reinterpret_cast<const char*>(bytes.data()),
              static_cast<std::streamsize>(bytes.size()));
  }

  ~TinyModelFile() { std::filesystem::remove(path_); }

  TinyModelFile(const TinyModelFile&) = delete;
  TinyModelFile& operator=(const TinyModelFile&) = delete;

  const std::filesystem::path& path() const { return path_; }

 private:
  static constexpr std::int64_t kWidth = 32;
  static constexpr std::int64_t kFfn = 64;
  static constexpr std::int64_t kContext = 1024;

  void add_metadata(std::string_view chat_template) {
    writer_.add_text("general.architecture", "llama").add_text("general.name", "tiny");
    writer_.add_u32("llama.context_length", kContext).add_u32("llama.embedding_length", kWidth);
    writer_.add_u32("llama.block_count", 2).add_u32("llama.feed_forward_length", kFfn);
    writer_.add_u32("llama.attention.head_count", 2).add_u32("llama.attention.head_count_kv", 1);
    writer_.add("llama.attention.layer_norm_rms_epsilon", tensor::GgufWriter::kF32, 1e-5F);
    // SentencePiece with byte fallback and no merges: every byte is a token.
    std::vector<std::string> tokens = {"<unk>", "<s>", "</s>"};
    std::vector<std::int64_t> types = {2, 3, 3};
    for (int byte = 0; byte < 256; ++byte) {
      char name[8];
      std::snprintf(name, sizeof name, "<0x%02X>", byte);
      tokens.emplace_back(name);
      types.push_back(6);
    }
    for (const char* control : {"<|im_start|>", "<|im_end|>"}) {
      tokens.emplace_back(control);
      types.push_back(3);
    }
    vocab_ = std::ssize(tokens);
    writer_.add_text("tokenizer.ggml.model", "llama");
    writer_.add_value("tokenizer.ggml.tokens", tokens);
    writer_.add_value("tokenizer.ggml.scores", std::vector<float>(tokens.size(), 0.0F));
    writer_.add_value("tokenizer.ggml.token_type", types);
    writer_.add_u32("tokenizer.ggml.bos_token_id", 1).add_u32("tokenizer.ggml.eos_token_id", 2);
    writer_.add("tokenizer.ggml.add_bos_token", tensor::GgufWriter::kBool, std::uint8_t{1});
    writer_.add("tokenizer.ggml.add_space_prefix", tensor::GgufWriter::kBool, std::uint8_t{0});
    if (!chat_template.empty()) {
      writer_.add_text("tokenizer.chat_template", chat_template);
    }
  }

  void add_weights() {
    add_matrix("token_embd.weight", kWidth, vocab_, 1.0);
    add_norm("output_norm.weight");
    for (int layer = 0; layer < 2; ++layer) {
      const std::string prefix = "blk." + std::to_string(layer) + ".";
      add_norm(prefix + "attn_norm.weight");
      add_norm(prefix + "ffn_norm.weight");
      add_matrix(prefix + "attn_q.weight", kWidth, kWidth, 2.0);
      add_matrix(prefix + "attn_k.weight", kWidth, kWidth / 2, 2.0);
      add_matrix(prefix + "attn_v.weight", kWidth, kWidth / 2, 1.0);
      add_matrix(prefix + "attn_output.weight", kWidth, kWidth, 1.0);
      add_matrix(prefix + "ffn_gate.weight", kWidth, kFfn, 1.0);
      add_matrix(prefix + "ffn_up.weight", kWidth, kFfn, 1.0);
      add_matrix(prefix + "ffn_down.weight", kFfn, kWidth, 1.0);
    }
  }

  void add_matrix(const std::string& name, std::int64_t cols, std::int64_t rows, double gain) {
    std::string data;
    for (std::int64_t i = 0; i < cols * rows; ++i) {
      tensor::put(data, static_cast<float>(gain / std::sqrt(static_cast<double>(cols)) * next()));
    }
    writer_.add_tensor(name, 0, {cols, rows}, data);
  }

  void add_norm(const std::string& name) {
    std::string data;
    for (std::int64_t i = 0; i < kWidth; ++i) {
      tensor::put(data, 1.0F);
    }
    writer_.add_tensor(name, 0, {kWidth}, data);
  }

  double next() {  // uniform with variance 1
    state_ = state_ * 6364136223846793005ULL + 1442695040888963407ULL;
    return (static_cast<double>(state_ >> 40) / (1 << 24) - 0.5) * std::sqrt(12.0);
  }

  std::filesystem::path path_;
  tensor::GgufWriter writer_;
  std::int64_t vocab_ = 0;
  std::uint64_t state_ = 1;
};

// A tiny encoder of tests/golden with a tokenizer added: special tokens and the letters.
class TinyEncoderFile {
 public:
  explicit TinyEncoderFile(const std::filesystem::path& source) {
    path_ = std::filesystem::temp_directory_path() /
            ("edgewise-tiny-encoder-" + std::to_string(::getpid()) + ".gguf");
    const tensor::ModelFile model = std::move(*tensor::ModelFile::open(source));
    tensor::GgufWriter writer;
    for (const auto& [key, value] : model.metadata().all()) {
      if (!key.starts_with("tokenizer.")) {
        writer.add_value(key, value);
      }
    }
    std::vector<std::string> tokens = {"[PAD]", "[UNK]", "[CLS]", "[SEP]"};
    while (tokens.size() < 64) {
      tokens.push_back("\xE2\x96\x81" +
                       std::string(tokens.size() < 30 ? 1 : 2,
                                   static_cast<char>('a' + (tokens.size() - 4) % 26)));
    }
    tokens.resize(56);
    while (tokens.size() < 64) {
      tokens.push_back("[unused" + std::to_string(tokens.size()) + "]");
    }
    writer.add_text("tokenizer.ggml.model", "bert");
    writer.add_value("tokenizer.ggml.tokens", tokens);
    writer.add_u32("tokenizer.ggml.unknown_token_id", 1).add_u32("tokenizer.ggml.bos_token_id", 2);
    writer.add_u32("tokenizer.ggml.cls_token_id", 2)
        .add_u32("tokenizer.ggml.seperator_token_id", 3);
    for (const tensor::TensorView& view : model.tensors()) {
      writer.add_tensor(
          view.name, static_cast<std::uint32_t>(view.type), view.shape,
          std::string(reinterpret_cast<const char*>(view.data.data()), view.data.size()));
    }
    const std::vector<std::byte> bytes = writer.bytes();
    std::ofstream out(path_, std::ios::binary);
    out.write(reinterpret_cast<const char*>(bytes.data()),
              static_cast<std::streamsize>(bytes.size()));
  }

  ~TinyEncoderFile() { std::filesystem::remove(path_); }

  TinyEncoderFile(const TinyEncoderFile&) = delete;
  TinyEncoderFile& operator=(const TinyEncoderFile&) = delete;

  const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
};

}  // namespace edgewise::chat
