// A step in which everyone decodes inside a KV block allocates nothing, from the plan to the call of the token's receiver,
// whose own work is not part of it (docs/architecture.md, Threads).
#include <gtest/gtest.h>

#include <filesystem>

#include "base/check.h"
#include "engine/runner.h"
#include "platform/allocation_counter.h"

namespace edgewise::engine {
namespace {

using platform::AllocationCounter;

std::unique_ptr<model::Model> load_tiny(const std::string& name, kernels::Ops& ops) {
  const auto path = std::filesystem::path(EDGEWISE_SOURCE_DIR) / "tests/golden/tiny_models" / name;
  auto file = tensor::ModelFile::open(path);
  CHECK(file.has_value());
  auto model = model::Model::load(std::make_shared<const tensor::ModelFile>(std::move(*file)), ops);
  CHECK(model.has_value());
  return std::move(*model);
}

std::unique_ptr<Sequence> request(RequestId id,
                                  std::int64_t prompt,
                                  const sampling::SamplingParams& sampling) {
  auto sequence = std::make_unique<Sequence>();
  sequence->id = id;
  for (std::int64_t i = 0; i < prompt; ++i) {
    sequence->tokens.push_back(static_cast<TokenId>((id * 11 + i * 7) % 64));
  }
  sequence->prompt_tokens = prompt;
  sequence->submitted = Clock::now();
  sequence->sampler.emplace(sampling, sequence->tokens, nullptr);
  sequence->request.ignore_eos = true;
  sequence->request.max_tokens = 80;  // what a schedule counts as its memory
  sequence->request.on_event = [](const Event&) { return Reply::kGoOn; };
  return sequence;
}

// Greedy, and each way of cutting a distribution.
std::vector<sampling::SamplingParams> all_truncations() {
  std::vector<sampling::SamplingParams> all(6);
  all[0].temperature = 0.0F;
  all[1].top_p = 0.7F;
  all[2].top_k = 20;
  all[3].min_p = 0.1F;
  all[4].typical_p = 0.8F;
  all[5].top_k = 30;
  all[5].top_p = 0.8F;
  all[5].min_p = 0.01F;
  return all;
}

class EngineAllocation : public ::testing::TestWithParam<std::tuple<std::string, Scheduling>> {};

TEST_P(EngineAllocation, NoneInStepsThatDecodeInsideKvBlocks) {
  if (!AllocationCounter::works()) {
    GTEST_SKIP() << "a sanitizer has malloc()";
  }
  const auto& [name, scheduling] = GetParam();
  platform::WorkerPool pool(2);
  kernels::Ops ops(pool, **kernels::select_table());
  auto model = load_tiny(name, ops);
  auto cache = *cache::KvCache::create(model->kv_shapes(), 64);
  RunnerOptions options;
  options.context = 1024;
  options.max_sequences = 8;
  options.limits.tokens = 10'000;
  options.limits.alone_seconds = options.limits.shared_seconds = 1e9;
  options.scheduling = scheduling;
  Runner runner(std::move(model), std::move(cache), options);
  RequestId id = 0;
  for (const sampling::SamplingParams& sampling : all_truncations()) {
    ++id;
    runner.add(request(id, static_cast<std::int64_t>(id % 3) * 64 + 4, sampling));
  }
  // All prompts are read after a few steps, and nobody's answer leaves the block in which his prompt ended.
  constexpr int kWarmUp = 12;
  for (int i = 0; i < kWarmUp; ++i) {
    runner.step();
  }
  ASSERT_EQ(runner.stats().waiting, 0);
  const std::int64_t tokens_before = runner.stats().completion_tokens_total;
  constexpr std::int64_t kSteps = 40;
  {
    const AllocationCounter counter;
    for (std::int64_t i = 0; i < kSteps; ++i) {
      runner.step();
    }
    EXPECT_EQ(counter.count(), 0);
  }
  EXPECT_EQ(runner.stats().completion_tokens_total - tokens_before,
            kSteps * std::ssize(all_truncations()));
}

INSTANTIATE_TEST_SUITE_P(Tiny,
                         EngineAllocation,
                         ::testing::Combine(::testing::Values("llama.gguf", "qwen3moe.gguf"),
                                            ::testing::Values(Scheduling::kFirstComeFirstServed,
                                                              Scheduling::kDeadline)));

}  // namespace
}  // namespace edgewise::engine
