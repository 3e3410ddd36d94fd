// Damaged and hostile model descriptions: an error that names the key or the tensor, never a crash.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <limits>

#include "model/architectures/architectures.h"
#include "model/test_support.h"
#include "model/weights.h"
#include "tensor/model_file_builder.h"

namespace edgewise::model {
namespace {

using tensor::MetadataValue;
using tensor::TensorView;
using ::testing::HasSubstr;

// A tiny model whose description can be altered. Tensors keep pointing into the original.
class Altered {
 public:
  explicit Altered(const std::string& name)
      : original_(tensor::ModelFile::open(testing::tiny_model(name)).value()) {
    values_ = original_.metadata().all();
    tensors_.assign(original_.tensors().begin(), original_.tensors().end());
  }

  Altered& set(const std::string& key, MetadataValue value) {
    values_.insert_or_assign(key, std::move(value));
    return *this;
  }

  Altered& erase(const std::string& key) {
    values_.erase(key);
    return *this;
  }

  TensorView& tensor(const std::string& name) {
    return *std::ranges::find_if(tensors_, [&](const TensorView& t) { return t.name == name; });
  }

  Altered& remove(const std::string& name) {
    std::erase_if(tensors_, [&](const TensorView& t) { return t.name == name; });
    return *this;
  }

  Altered& add(TensorView tensor) {
    tensors_.push_back(std::move(tensor));
    return *this;
  }

  auto& values() { return values_; }

  tensor::ModelFile file() const {
    tensor::ModelFileBuilder builder("altered.gguf");
    for (const auto& [key, value] : values_) {
      builder.metadata().set(key, value);
    }
    for (const TensorView& tensor : tensors_) {
      EXPECT_TRUE(builder.add(tensor).has_value());
    }
    return builder.build();
  }

  // "" when it loads.
  std::string error() const {
    const tensor::ModelFile altered = file();
    const auto spec = read_spec(altered);
    if (!spec) {
      return spec.error().message;
    }
    const auto weights = find_weights(altered, *spec);
    return weights ? "" : weights.error().message;
  }

 private:
  tensor::ModelFile original_;
  std::map<std::string, MetadataValue, std::less<>> values_;
  std::vector<TensorView> tensors_;
};

constexpr std::int64_t kBig = std::numeric_limits<std::int64_t>::max();

MetadataValue integer(std::int64_t value) {
  return value;
}

TEST(Loading, AnUnalteredModelLoads) {
  EXPECT_EQ(Altered("llama").error(), "");
}

TEST(Loading, AnUnknownArchitectureGetsTheListOfKnownOnes) {
  const std::string error =
      Altered("llama").set("general.architecture", std::string("mamba")).error();
  EXPECT_THAT(error, HasSubstr("'mamba'"));
  EXPECT_THAT(
      error,
      HasSubstr(
          "bert, gemma2, gemma3, granite, llama, olmo2, phi3, qwen2, qwen3, qwen3moe, smollm3"));
}

TEST(Loading, EveryRequiredKeyIsNamedWhenItIsMissing) {
  for (const std::string key :
       {"llama.context_length", "llama.embedding_length", "llama.block_count",
        "llama.attention.head_count", "general.architecture", "llama.feed_forward_length"}) {
    EXPECT_THAT(Altered("llama").erase(key).error(), HasSubstr(key));
  }
  EXPECT_THAT(Altered("granite").erase("granite.logit_scale").error(),
              HasSubstr("granite.logit_scale"));
  EXPECT_THAT(Altered("qwen3moe").erase("qwen3moe.expert_count").error(),
              HasSubstr("expert_count"));
}

TEST(Loading, ImpossibleNumbersAreNamed) {
  for (const std::string key :
       {"llama.context_length", "llama.embedding_length", "llama.block_count",
        "llama.attention.head_count", "llama.attention.head_count_kv", "llama.feed_forward_length",
        "llama.attention.key_length", "llama.attention.value_length"}) {
    for (const std::int64_t value :
         {std::int64_t{0}, std::int64_t{-1}, -kBig, kBig, std::int64_t{1} << 31}) {
      EXPECT_NE(Altered("llama").set(key, integer(value)).error(), "") << key << " = " << value;
    }
    EXPECT_THAT(Altered("llama").set(key, std::string("many")).error(), HasSubstr(key));
  }
  for (const std::string key : {"llama.rope.freq_base", "llama.attention.layer_norm_rms_epsilon"}) {
    for (const double value : {std::nan(""), std::numeric_limits<double>::infinity(), -1.0}) {
      EXPECT_NE(Altered("llama").set(key, value).error(), "") << key << " = " << value;
    }
  }
  EXPECT_THAT(Altered("llama").set("llama.attention.head_count_kv", integer(3)).error(),
              HasSubstr("head_count_kv"));
  EXPECT_THAT(Altered("llama").set("llama.rope.dimension_count", integer(15)).error(),
              HasSubstr("15"));
  EXPECT_THAT(Altered("llama").set("llama.rope.dimension_count", integer(18)).error(),
              HasSubstr("rope.dimension_count"));
  EXPECT_THAT(Altered("llama").set("llama.attention.key_length", integer(24)).error(),
              HasSubstr("24"));
  EXPECT_THAT(Altered("qwen3moe").set("qwen3moe.expert_used_count", integer(7)).error(),
              HasSubstr("expert_used_count"));
  EXPECT_THAT(Altered("qwen2").set("qwen2.rope.scaling.type", std::string("spiral")).error(),
              HasSubstr("spiral"));
  EXPECT_THAT(Altered("qwen3").set("qwen3.pooling_type", integer(4)).error(),
              HasSubstr("pooling_type"));
  EXPECT_THAT(Altered("gemma3")
                  .set("gemma3.attention.sliding_window_pattern", std::vector<std::int64_t>{1, 0})
                  .error(),
              HasSubstr("sliding_window_pattern"));
  EXPECT_THAT(
      Altered("llama").set("tokenizer.ggml.tokens", std::vector<std::string>(65, "x")).error(),
      HasSubstr("65"));
}

TEST(Loading, EveryTensorIsNamedWhenItIsMissing) {
  for (const std::string name :
       {"llama", "gemma3", "olmo2", "phi3_long", "qwen3moe", "bert_mean"}) {
    const auto file = tensor::ModelFile::open(testing::tiny_model(name)).value();
    for (const TensorView& tensor : file.tensors()) {
      const bool optional = tensor.name.ends_with(".bias") || tensor.name.starts_with("rope_") ||
                            tensor.name == "token_types.weight" || tensor.name == "output.weight";
      if (!optional) {
        EXPECT_THAT(Altered(name).remove(tensor.name).error(),
                    HasSubstr(tensor.name.substr(0, tensor.name.find(".attn_qkv"))));
      }
    }
  }
}

TEST(Loading, EveryTensorIsNamedWhenItsShapeIsWrong) {
  for (const std::string name : {"llama", "gemma2", "phi3_short", "qwen3moe", "bert_cls"}) {
    const auto file = tensor::ModelFile::open(testing::tiny_model(name)).value();
    for (const TensorView& tensor : file.tensors()) {
      for (std::size_t d = 0; d < tensor.shape.size(); ++d) {
        if (tensor.name == "token_types.weight" && d == 1) {
          continue;  // any number of rows will do
        }
        Altered altered(name);
        altered.tensor(tensor.name).shape[d] /= 2;
        EXPECT_NE(altered.error(), "") << tensor.name;
      }
      Altered transposed(name);
      std::vector<std::int64_t>& shape = transposed.tensor(tensor.name).shape;
      std::ranges::reverse(shape);
      if (shape != tensor.shape) {
        EXPECT_NE(transposed.error(), "") << tensor.name;
      }
    }
  }
}

TEST(Loading, ATensorThatWouldBeLeftOutIsAnError) {
  Altered altered("llama");
  TensorView sinks = altered.tensor("blk.0.attn_norm.weight");
  sinks.name = "blk.0.attn_sinks.weight";
  EXPECT_THAT(altered.add(sinks).error(), HasSubstr("attn_sinks"));
}

// Any of the file's numbers replaced by any other: an error or a model, nothing else.
RC_GTEST_PROP(Loading, SurvivesAnyNumbers, ()) {
  Altered altered(*rc::gen::elementOf(testing::kTinyDecoders));
  const auto changes = *rc::gen::inRange(1, 4);
  for (int i = 0; i < changes; ++i) {
    auto it = altered.values().begin();
    std::advance(it, *rc::gen::inRange<std::size_t>(0, altered.values().size()));
    if (std::holds_alternative<double>(it->second)) {
      it->second = *rc::gen::element(0.0, -1.0, 1e308, 1e-308, std::nan(""),
                                     std::numeric_limits<double>::infinity());
    } else if (!std::holds_alternative<std::string>(it->second)) {
      it->second = integer(*rc::gen::oneOf(rc::gen::arbitrary<std::int64_t>(),
                                           rc::gen::inRange<std::int64_t>(-2, 200)));
    }
  }
  const std::string error = altered.error();
  RC_CLASSIFY(error.empty(), "still a model");
}

}  // namespace
}  // namespace edgewise::model
