// The tokenizations that llama.cpp ships for its own vocabularies (models/ggml-vocab-*.gguf with
// .inp and .out, made by its convert_hf_to_gguf_update.py with each model's Hugging Face
// tokenizer). tools/fetch_test_vectors brings them.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "tensor/model_file.h"
#include "text/tokenizer.h"

namespace edgewise::text {
namespace {

namespace fs = std::filesystem;

fs::path vector_folder() {
  const char* named = std::getenv("EDGEWISE_TEST_VECTORS");
  return named != nullptr ? fs::path(named) : fs::path(EDGEWISE_SOURCE_DIR) / "build" / "vectors";
}

std::string read_file(const fs::path& path) {
  std::ifstream in(path, std::ios::binary);
  std::stringstream content;
  content << in.rdbuf();
  return content.str();
}

// The texts stand between separator lines; the last one may be followed by none.
std::vector<std::string> read_texts(const fs::path& path) {
  const std::string content = read_file(path);
  constexpr std::string_view kSeparator = "\n__ggml_vocab_test__\n";
  std::vector<std::string> texts;
  std::size_t begin = 0;
  for (std::size_t end = content.find(kSeparator); end != std::string::npos;
       end = content.find(kSeparator, begin)) {
    texts.push_back(content.substr(begin, end - begin));
    begin = end + kSeparator.size();
  }
  return texts;
}

std::vector<std::vector<TokenId>> read_tokens(const fs::path& path) {
  std::istringstream lines(read_file(path));
  std::vector<std::vector<TokenId>> all;
  for (std::string line; std::getline(lines, line);) {
    std::istringstream numbers(line);
    std::vector<TokenId> ids;
    for (TokenId id = 0; numbers >> id;) {
      ids.push_back(id);
    }
    all.push_back(ids);
  }
  return all;
}

class VocabularyVectors : public testing::TestWithParam<const char*> {};

TEST_P(VocabularyVectors, AreEncodedAlike) {
  const fs::path folder = vector_folder();
  if (!fs::exists(folder)) {
    GTEST_SKIP() << "NO TEST VECTORS in " << folder << ": run tools/fetch_test_vectors";
  }
  const fs::path model = folder / (std::string("ggml-vocab-") + GetParam() + ".gguf");
  const auto file = tensor::ModelFile::open(model);
  ASSERT_TRUE(file) << file.error().message;
  const auto tokenizer = Tokenizer::create(file->metadata());
  ASSERT_TRUE(tokenizer) << tokenizer.error().message;
  const std::vector<std::string> texts = read_texts(model.string() + ".inp");
  const std::vector<std::vector<TokenId>> expected = read_tokens(model.string() + ".out");
  ASSERT_GE(texts.size(), 40u);
  ASSERT_GE(expected.size(), texts.size());
  for (std::size_t i = 0; i < texts.size(); ++i) {
    EXPECT_THAT((*tokenizer)->encode(texts[i], {.add_special = false, .parse_special = false}),
                testing::ElementsAreArray(expected[i]))
        << "text " << i << ": " << texts[i];
  }
}

INSTANTIATE_TEST_SUITE_P(All,
                         VocabularyVectors,
                         testing::Values("bert-bge",
                                         "command-r",
                                         "deepseek-coder",
                                         "deepseek-llm",
                                         "falcon",
                                         "gemma-4",
                                         "gpt-2",
                                         "llama-bpe",
                                         "llama-spm",
                                         "mpt",
                                         "phi-3",
                                         "qwen2",
                                         "qwen35",
                                         "refact",
                                         "starcoder"),
                         [](const testing::TestParamInfo<const char*>& vocabulary) {
                           std::string name = vocabulary.param;
                           std::erase(name, '-');
                           return name;
                         });

}  // namespace
}  // namespace edgewise::text
