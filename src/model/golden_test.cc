// The models against what llama.cpp computed for the same files (tests/golden/make_tiny_models.py), and the fast model
// against the oracle.
#include <gtest/gtest.h>

#include "model/test_support.h"

namespace edgewise::model {
namespace {

using testing::Logits;
using testing::Runner;
using testing::RunnerOptions;

struct Expected {
  std::string maker;
  double tolerance = 0;
  std::vector<TokenId> tokens, continuation;
  Logits logits;
  Logits embedding;  // one row, or none
};

Logits rows_of(const tensor::TensorView* view) {
  Logits rows;
  for (std::int64_t r = 0; view != nullptr && r < view->rows(); ++r) {
    std::vector<float>& row = rows.emplace_back(static_cast<std::size_t>(view->cols()));
    tensor::dequantize(view->type, view->data.data() + r * view->cols() * 4, row);
  }
  return rows;
}

Expected read_expected(const std::string& name) {
  const auto file = tensor::ModelFile::open(testing::tiny_model(name + ".expected")).value();
  Expected expected;
  expected.maker = file.metadata().string("golden.maker").value().value();
  expected.tolerance = file.metadata().number("golden.tolerance").value().value();
  for (const std::int64_t token : *file.metadata().integers("golden.tokens")) {
    expected.tokens.push_back(static_cast<TokenId>(token));
  }
  if (const auto* continuation = file.metadata().integers("golden.continuation")) {
    expected.continuation.assign(continuation->begin(), continuation->end());
  }
  expected.logits = rows_of(file.find("logits"));
  expected.embedding = rows_of(file.find("embedding"));
  return expected;
}

TokenId best(const std::vector<float>& logits) {
  return static_cast<TokenId>(std::ranges::max_element(logits) - logits.begin());
}

// What the engine's own arithmetic may differ from the oracle's: of float weights, single precision and 16-bit keys that
// round the other way; of quantized weights, 8-bit activations, as the file's tolerance grants llama.cpp too.
double engine_tolerance(const Expected& expected) {
  return expected.tolerance > 0.05 ? expected.tolerance : 0.001;
}

class Decoders : public ::testing::TestWithParam<std::string> {};

TEST_P(Decoders, OracleGivesTheLogitsOfLlamaCpp) {
  const Expected expected = read_expected(GetParam());
  Runner oracle(testing::tiny_model(GetParam()), {.oracle = true});
  const double error = testing::relative_error(expected.logits, oracle.all_logits(expected.tokens));
  RecordProperty("relative_error", std::to_string(error));
  EXPECT_LT(error, expected.tolerance) << expected.maker;
}

TEST_P(Decoders, EngineGivesTheLogitsOfTheOracle) {
  const Expected expected = read_expected(GetParam());
  for (const auto kv_type : {kernels::KvType::kF16, kernels::KvType::kQ8}) {
    Runner oracle(testing::tiny_model(GetParam()), {.oracle = true, .kv_type = kv_type});
    Runner engine(testing::tiny_model(GetParam()), {.kv_type = kv_type});
    const double error = testing::relative_error(oracle.all_logits(expected.tokens),
                                                 engine.all_logits(expected.tokens));
    const std::string_view name = kernels::kv_type_name(kv_type);
    RecordProperty("relative_error_" + std::string(name), std::to_string(error));
    EXPECT_LT(error, engine_tolerance(expected)) << name;
  }
}

// Token by token after the prompt. A tie that rounding may turn ends the comparison; most models never meet one.
TEST_P(Decoders, EngineContinuesAsLlamaCpp) {
  const Expected expected = read_expected(GetParam());
  Runner engine(testing::tiny_model(GetParam()));
  std::vector<TokenId> text = expected.tokens;
  const auto blocks = engine.blocks(text.size() + expected.continuation.size());
  std::vector<float> logits = engine.forward({{text, 0, blocks, Want::kLastLogits}}).at(0);
  for (const TokenId token : expected.continuation) {
    const float margin =
        logits[static_cast<std::size_t>(best(logits))] - logits[static_cast<std::size_t>(token)];
    ASSERT_LT(margin, 20 * expected.tolerance) << "at " << text.size();  // of a spread of about 2
    text.push_back(token);
    const auto last = std::span<const TokenId>(text).last(1);
    logits = engine.forward({{last, std::ssize(text) - 1, blocks, Want::kLastLogits}}).at(0);
  }
}

INSTANTIATE_TEST_SUITE_P(Tiny,
                         Decoders,
                         ::testing::ValuesIn(testing::kTinyDecoders),
                         [](const auto& tested) { return tested.param; });

class Embedders : public ::testing::TestWithParam<std::string> {};

TEST_P(Embedders, GiveTheEmbeddingOfLlamaCpp) {
  const Expected expected = read_expected(GetParam());
  for (const bool oracle : {true, false}) {
    Runner runner(testing::tiny_model(GetParam()), {.oracle = oracle});
    const std::vector<float> actual = runner.embedding(expected.tokens);
    EXPECT_LT(testing::relative_error(expected.embedding, {actual}), expected.tolerance)
        << (oracle ? "oracle" : "engine");
    EXPECT_NEAR(std::inner_product(actual.begin(), actual.end(), actual.begin(), 0.0), 1.0, 1e-5);
  }
}

INSTANTIATE_TEST_SUITE_P(Tiny,
                         Embedders,
                         ::testing::Values("bert_mean", "bert_cls", "qwen3"),
                         [](const auto& tested) { return tested.param; });

}  // namespace
}  // namespace edgewise::model
