// A real sentence encoder against its mathematics in numpy (tests/golden/make_minilm_vectors.py). Runs where
// EDGEWISE_TEST_MINILM names the folder of all-MiniLM-L6-v2.
#include <gtest/gtest.h>

#include <cstdlib>

#include "model/test_support.h"

namespace edgewise::model {
namespace {

TEST(MiniLm, GivesTheEmbeddingsOfTheReference) {
  const char* folder = std::getenv("EDGEWISE_TEST_MINILM");
  if (folder == nullptr) {
    GTEST_SKIP() << "EDGEWISE_TEST_MINILM is not set";
  }
  const auto expected = tensor::ModelFile::open(std::filesystem::path(EDGEWISE_SOURCE_DIR) /
                                                "tests/golden/minilm.expected.gguf")
                            .value();
  const double tolerance = expected.metadata().number("golden.tolerance").value().value();
  const auto* texts = expected.metadata().strings("golden.texts");
  for (const bool oracle : {true, false}) {
    testing::Runner runner(folder, {.threads = 2, .oracle = oracle});
    for (std::size_t i = 0; i < texts->size(); ++i) {
      const auto* ids = expected.metadata().integers(fmt::format("golden.tokens.{}", i));
      const std::vector<TokenId> tokens(ids->begin(), ids->end());
      const tensor::TensorView* view = expected.find(fmt::format("embedding.{}", i));
      std::vector<float> reference(static_cast<std::size_t>(view->cols()));
      tensor::dequantize(view->type, view->data.data(), reference);
      // Both of length 1, so the distance bounds the angle: cosine above 1 - tolerance^2 / 2.
      const std::vector<float> actual = runner.embedding(tokens);
      double squares = 0;
      for (std::size_t d = 0; d < reference.size(); ++d) {
        squares += std::pow(static_cast<double>(actual.at(d)) - reference[d], 2);
      }
      EXPECT_LT(std::sqrt(squares), tolerance) << (oracle ? "oracle: " : "engine: ") << (*texts)[i];
    }
  }
}

}  // namespace
}  // namespace edgewise::model
