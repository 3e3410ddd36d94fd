// Runs models over token sequences in the tests. Test-only.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <numeric>
#include <random>

#include "model/model.h"

namespace edgewise::model::testing {

inline std::filesystem::path tiny_model(const std::string& name) {
  return std::filesystem::path(EDGEWISE_SOURCE_DIR) / "tests/golden/tiny_models" / (name + ".gguf");
}

inline const std::vector<std::string> kTinyDecoders{
    "gemma2", "gemma3",   "granite",     "llama",      "llama_k_quants", "llama_moe",
    "olmo2",  "olmo3",    "phi3_long",   "phi3_short", "qwen2",          "qwen2_blocks",
    "qwen3",  "qwen3moe", "qwen3moe_q8", "smollm3"};

struct RunnerOptions {
  int threads = 1;
  bool oracle = false;
  bool shortlist = false;
  kernels::KvType kv_type = kernels::KvType::kF16;
  const kernels::KernelTable* table = nullptr;  // nullptr: the one that select_table() gives
};

using Logits = std::vector<std::vector<float>>;  // [tokens][V]

// A model with a cache of its own.
class Runner {
 public:
  explicit Runner(const std::filesystem::path& path, RunnerOptions options = {})
      : pool_(options.threads),
        ops_(pool_, options.table != nullptr ? *options.table : **kernels::select_table()) {
    auto file = tensor::ModelFile::open(path);
    EXPECT_TRUE(file.has_value()) << file.error().message;
    auto model = Model::load(std::make_shared<const tensor::ModelFile>(std::move(*file)), ops_,
                             {.oracle = options.oracle, .shortlist = options.shortlist});
    EXPECT_TRUE(model.has_value()) << model.error().message;
    model_ = std::move(*model);
    cache_ = cache::KvCache::create(model_->kv_shapes(), 64, options.kv_type).value();
  }

  Model& model() { return *model_; }

  cache::KvCache& cache() { return *cache_; }

  std::vector<cache::BlockId> blocks(std::size_t tokens) {
    std::vector<cache::BlockId> ids;
    for (std::size_t i = 0; i < tokens; i += kernels::kKeyBlock) {
      ids.push_back(cache_->allocate().value());
    }
    return ids;
  }

  Logits forward(std::vector<Segment> segments) {
    const StepPlan plan{std::move(segments)};
    Logits rows;
    for (const auto row : model_->forward(plan, *cache_).rows) {
      rows.emplace_back(row.begin(), row.end());
    }
    return rows;
  }

  // Logits of every position, computed in chunks of `chunk` tokens.
  Logits all_logits(std::span<const TokenId> tokens, std::size_t chunk = 1000) {
    const auto ids = blocks(tokens.size());
    Logits rows;
    for (std::size_t at = 0; at < tokens.size(); at += chunk) {
      const auto part = tokens.subspan(at, std::min(chunk, tokens.size() - at));
      std::ranges::move(forward({{part, static_cast<std::int64_t>(at), ids, Want::kAllLogits}}),
                        std::back_inserter(rows));
    }
    std::ranges::for_each(ids, [&](auto id) { cache_->release(id); });
    return rows;
  }

  std::vector<float> embedding(std::span<const TokenId> tokens) {
    const auto ids = blocks(tokens.size());
    Logits rows = forward({{tokens, 0, ids, Want::kEmbedding}});
    std::ranges::for_each(ids, [&](auto id) { cache_->release(id); });
    return rows.at(0);
  }

 private:
  platform::WorkerPool pool_;
  kernels::Ops ops_;
  std::unique_ptr<Model> model_;
  std::unique_ptr<cache::KvCache> cache_;
};

inline std::vector<TokenId> random_tokens(std::int64_t vocab, std::size_t count, unsigned seed) {
  std::mt19937 rng(seed);
  std::vector<TokenId> tokens(count);
  std::ranges::generate(
      tokens, [&] { return static_cast<TokenId>(rng() % static_cast<std::uint32_t>(vocab)); });
  return tokens;
}

// Root mean square of the difference over the spread (standard deviation) of the reference.
inline double relative_error(const Logits& reference, const Logits& actual) {
  EXPECT_EQ(reference.size(), actual.size());
  double sum = 0, squares = 0, errors = 0, count = 0;
  for (std::size_t r = 0; r < reference.size() && r < actual.size(); ++r) {
    EXPECT_EQ(reference[r].size(), actual[r].size());
    for (std::size_t i = 0; i < reference[r].size(); ++i) {
      const double x = reference[r][i];
      sum += x;
      squares += x * x;
      errors += (x - actual[r][i]) * (x - actual[r][i]);
      ++count;
    }
  }
  return std::sqrt(errors / count) / std::sqrt(squares / count - sum / count * sum / count);
}

}  // namespace edgewise::model::testing
