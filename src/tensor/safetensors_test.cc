// Oracle: tests/golden/make_tiny_bert.py wrote the same model with the safetensors and the gguf
// packages.
#include "tensor/safetensors.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <rapidcheck.h>
#include <stdlib.h>

#include <algorithm>
#include <cmath>
#include <fstream>
#include <functional>
#include <iterator>

#include "tensor/gguf_test_writer.h"

namespace edgewise::tensor {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;

const fs::path kGolden = EDGEWISE_SOURCE_DIR "/tests/golden";

std::vector<std::byte> container(std::string_view header, std::string_view data = "") {
  std::string out;
  put_text(out, header);
  out += data;
  const auto* begin = reinterpret_cast<const std::byte*>(out.data());
  return {begin, begin + out.size()};
}

std::string error_of(std::string_view header, std::string_view data = "") {
  const std::vector<std::byte> bytes = container(header, data);
  const auto entries = parse_safetensors(bytes, "m.safetensors");
  return entries ? "" : entries.error().message;
}

TEST(Safetensors, ReadsEntries) {
  const std::vector<std::byte> bytes = container(
      R"({"__metadata__":{"format":"pt"},"a":{"dtype":"F32","shape":[2,1],"data_offsets":[1,9]},"b":{"dtype":"I8","shape":[],"data_offsets":[0,1]}})",
      "123456789");
  const auto entries = parse_safetensors(bytes, "m.safetensors");
  ASSERT_TRUE(entries.has_value()) << entries.error().message;
  ASSERT_EQ(entries->size(), 2U);
  EXPECT_EQ((*entries)[0].name, "a");
  EXPECT_EQ((*entries)[0].shape, (std::vector<std::int64_t>{2, 1}));
  EXPECT_EQ((*entries)[0].data[0], std::byte{'2'});
  EXPECT_EQ((*entries)[1].data.size(), 1U);
}

TEST(Safetensors, RefusesWrongHeaders) {
  EXPECT_THAT(error_of("[]"), HasSubstr("not a JSON object"));
  EXPECT_THAT(error_of("{"), HasSubstr("not a JSON object"));
  EXPECT_THAT(error_of(std::string(100'000, '[')), HasSubstr("not a JSON object"));
  EXPECT_THAT(error_of(R"({"a":1})"), HasSubstr("tensor a has no dtype"));
  EXPECT_THAT(error_of(R"({"a":{"dtype":"X","shape":[],"data_offsets":[0,0]}})"),
              HasSubstr("unknown type X"));
  for (const char* wrong :
       {R"("shape":[-1],"data_offsets":[0,4])", R"("shape":[1],"data_offsets":[0])",
        R"("shape":1,"data_offsets":[0,4])", R"("data_offsets":[0,4])",
        R"("shape":[1.5],"data_offsets":[0,4])",
        R"("shape":[1,1,1,1,1,1,1,1,1],"data_offsets":[0,4])"}) {
    EXPECT_THAT(error_of(fmt::format(R"({{"a":{{"dtype":"F32",{}}}}})", wrong), "1234"),
                HasSubstr("missing or wrong"))
        << wrong;
  }
  for (const char* wrong :
       {R"("shape":[2],"data_offsets":[0,4])", R"("shape":[1],"data_offsets":[4,0])",
        R"("shape":[2],"data_offsets":[0,8])",
        R"("shape":[1],"data_offsets":[9223372036854775803,9223372036854775807])"}) {
    EXPECT_THAT(error_of(fmt::format(R"({{"a":{{"dtype":"F32",{}}}}})", wrong), "1234"),
                HasSubstr("do not fit"))
        << wrong;
  }
  EXPECT_THAT(
      error_of(R"({"a":{"dtype":"F32","shape":[4611686018427387904,4],"data_offsets":[0,4]}})"),
      HasSubstr("than any file"));
  EXPECT_FALSE(parse_safetensors(std::vector<std::byte>(7), "m").has_value());
  EXPECT_FALSE(parse_safetensors(std::vector<std::byte>(8, std::byte{0xff}), "m").has_value());
}

TEST(Safetensors, SurvivesChangedBytes) {
  std::ifstream file(kGolden / "tiny_bert/model.safetensors", std::ios::binary);
  const std::string original((std::istreambuf_iterator<char>(file)), {});
  ASSERT_GT(original.size(), 8000U);
  EXPECT_TRUE(rc::check([&] {
    std::vector<std::byte> bytes(original.size());
    std::memcpy(bytes.data(), original.data(), original.size());
    const auto at = *rc::gen::inRange<std::size_t>(0, 4000);  // the header
    bytes[at] = std::byte(*rc::gen::arbitrary<std::uint8_t>());
    bytes.resize(*rc::gen::inRange<std::size_t>(at, bytes.size() + 1));
    const auto entries = parse_safetensors(bytes, "m.safetensors");
    if (entries) {
      for (const SafetensorsEntry& entry : *entries) {
        RC_ASSERT(entry.data.data() + entry.data.size() <= bytes.data() + bytes.size());
      }
    }
  }));
}

// A copy of tests/golden/tiny_bert to spoil.
class BertFolderTest : public testing::Test {
 protected:
  BertFolderTest() {
    std::string name = (fs::temp_directory_path() / "edgewise-bert-XXXXXX").string();
    folder_ = ::mkdtemp(name.data());
    fs::copy(kGolden / "tiny_bert", folder_, fs::copy_options::recursive);
  }

  ~BertFolderTest() override { fs::remove_all(folder_); }

  void replace(const std::string& file,
               const std::string& old_text,
               const std::string& new_text) const {
    std::ifstream in(folder_ / file, std::ios::binary);
    std::string content((std::istreambuf_iterator<char>(in)), {});
    const std::size_t at = content.find(old_text);
    ASSERT_NE(at, std::string::npos) << old_text;
    content.replace(at, old_text.size(), new_text);
    std::ofstream(folder_ / file, std::ios::binary) << content;
  }

  std::string error() const {
    const Result<ModelFile> file = ModelFile::open(folder_);
    return file ? "" : file.error().message;
  }

  fs::path folder_;
};

TEST_F(BertFolderTest, EqualsTheSameModelInGguf) {
  const Result<ModelFile> folder = ModelFile::open(folder_);
  const Result<ModelFile> expected = ModelFile::open(kGolden / "tiny_bert.gguf");
  ASSERT_TRUE(folder.has_value()) << folder.error().message;
  ASSERT_TRUE(expected.has_value()) << expected.error().message;
  for (const auto& [key, value] : expected->metadata().all()) {
    const MetadataValue* actual = folder->metadata().find(key);
    ASSERT_NE(actual, nullptr) << key;
    if (const auto* number = std::get_if<double>(&value)) {  // stored with 32 bits in the file
      EXPECT_EQ(static_cast<float>(*number), static_cast<float>(std::get<double>(*actual))) << key;
    } else {
      EXPECT_TRUE(*actual == value) << key;
    }
  }
  EXPECT_TRUE(ModelFile::open(folder_ / "model.safetensors").has_value());
  EXPECT_EQ(folder->metadata().all().size(), expected->metadata().all().size());
  ASSERT_EQ(folder->tensors().size(), expected->tensors().size());
  for (const TensorView& tensor : expected->tensors()) {
    const TensorView* actual = folder->find(tensor.name);
    ASSERT_NE(actual, nullptr) << tensor.name;
    EXPECT_EQ(actual->type, tensor.type) << tensor.name;
    EXPECT_EQ(actual->shape, tensor.shape) << tensor.name;
    EXPECT_TRUE(std::ranges::equal(actual->data, tensor.data)) << tensor.name;
  }
}

TEST_F(BertFolderTest, ReadsVocabTxtWhenThereIsNoTokenizerJson) {
  const Result<ModelFile> with_json = ModelFile::open(folder_);
  ASSERT_TRUE(with_json.has_value());
  fs::remove(folder_ / "tokenizer.json");
  std::ofstream(folder_ / "vocab.txt")
      << "[PAD]\n[unused0]\n[UNK]\n[CLS]\n[SEP]\r\n[MASK]\na\nthe\n##s\n##ing\né\n中\n";
  const Result<ModelFile> with_text = ModelFile::open(folder_);
  ASSERT_TRUE(with_text.has_value()) << with_text.error().message;
  EXPECT_TRUE(with_text->metadata().all() == with_json->metadata().all());
}

TEST_F(BertFolderTest, CopiesTensorsThatAreNotAligned) {
  std::ifstream in(folder_ / "model.safetensors", std::ios::binary);
  std::string content((std::istreambuf_iterator<char>(in)), {});
  std::uint64_t header_bytes = 0;
  std::memcpy(&header_bytes, content.data(), sizeof header_bytes);
  std::string moved;
  put_text(moved, content.substr(8, header_bytes) + " ");  // one more byte of header
  moved += content.substr(8 + header_bytes);
  std::ofstream(folder_ / "model.safetensors", std::ios::binary) << moved;
  const Result<ModelFile> folder = ModelFile::open(folder_);
  const Result<ModelFile> expected = ModelFile::open(kGolden / "tiny_bert");
  ASSERT_TRUE(folder.has_value()) << folder.error().message;
  for (const TensorView& tensor : folder->tensors()) {
    EXPECT_EQ(reinterpret_cast<std::uintptr_t>(tensor.data.data()) % 2, 0U) << tensor.name;
    EXPECT_TRUE(std::ranges::equal(tensor.data, expected->require(tensor.name).value()->data))
        << tensor.name;
    folder->release(tensor.data);
  }
}

TEST_F(BertFolderTest, LeavesOutWhatTheFolderDoesNotSay) {
  fs::remove(folder_ / "modules.json");
  const Result<ModelFile> folder = ModelFile::open(folder_);
  ASSERT_TRUE(folder.has_value()) << folder.error().message;
  EXPECT_EQ(folder->metadata().find("bert.pooling_type"), nullptr);
}

TEST_F(BertFolderTest, ReadsFirstTokenPooling) {
  replace("1_Pooling/config.json", R"("pooling_mode_cls_token": false)",
          R"("pooling_mode_cls_token": true)");
  EXPECT_THAT(error(), HasSubstr("exactly one of"));
  replace("1_Pooling/config.json", R"("pooling_mode_mean_tokens": true)",
          R"("pooling_mode_mean_tokens": false)");
  const Result<ModelFile> folder = ModelFile::open(folder_);
  ASSERT_TRUE(folder.has_value()) << folder.error().message;
  EXPECT_EQ(folder->metadata().integer("bert.pooling_type").value(), 2);
}

struct Spoiled {
  const char* file;
  const char* old_text;
  const char* new_text;
  const char* error;
};

class SpoiledBertFolderTest : public BertFolderTest, public testing::WithParamInterface<Spoiled> {};

TEST_P(SpoiledBertFolderTest, IsRefusedWithTheReason) {
  const Spoiled& spoiled = GetParam();
  replace(spoiled.file, spoiled.old_text, spoiled.new_text);
  EXPECT_THAT(error(), HasSubstr(spoiled.error));
  EXPECT_THAT(error(), HasSubstr(spoiled.file));
}

INSTANTIATE_TEST_SUITE_P(
    All,
    SpoiledBertFolderTest,
    testing::Values(Spoiled{"config.json", R"("model_type": "bert")", R"("model_type": "llama")",
                            "use a GGUF file"},
                    Spoiled{"config.json", R"("gelu")", R"("relu")", "hidden_act is \"relu\""},
                    Spoiled{"config.json", R"("absolute")", R"("relative_key")", "only absolute"},
                    Spoiled{"config.json", R"("vocab_size": 12)", R"("vocab_size": 1000000000000)",
                            "do not match the word embeddings"},
                    Spoiled{"config.json", R"("hidden_size": 8)", R"("hidden_size": 4)",
                            "do not match the word embeddings"},
                    Spoiled{"config.json", R"("num_hidden_layers": 2)",
                            R"("num_hidden_layers": "2")", "num_hidden_layers is not an integer"},
                    Spoiled{"config.json", R"("num_attention_heads": 2)",
                            R"("num_attention_heads": 0)", "not above 0"},
                    Spoiled{"config.json", "{", "[", "not valid JSON"},
                    Spoiled{"modules.json", "1_Pooling", "..", "not the name of a folder"},
                    Spoiled{"modules.json", "1_Pooling", "/etc", "not the name of a folder"},
                    Spoiled{"modules.json", "models.Normalize", "models.Dense",
                            "module Dense is not supported"},
                    Spoiled{"tokenizer.json", "WordPiece", "BPE", "not a WordPiece vocabulary"},
                    Spoiled{"tokenizer.json", "BertNormalizer", "Lowercase",
                            "not a BertNormalizer"},
                    Spoiled{"tokenizer.json", "\"the\": 7", "\"the\": 12",
                            "the id 12, but the model has 12 tokens"},
                    Spoiled{"tokenizer.json", "\"the\": 7", "\"the\": -1", "the id -1"},
                    Spoiled{"model.safetensors", "attention.self.query.weight",
                            "attention.self.quark.weight", "not part of a plain bert"},
                    Spoiled{"model.safetensors", "encoder.layer.0.output", "encoder.later.0.output",
                            "not part of a plain bert"}));

}  // namespace
}  // namespace edgewise::tensor
