// A decoding step inside a KV block allocates nothing, on any thread. One that begins a block may make lists of blocks and
// partial results larger.
#include <gtest/gtest.h>

#include <tuple>

#include "model/test_support.h"
#include "platform/allocation_counter.h"

namespace edgewise::model {
namespace {

using kernels::KvType;
using platform::AllocationCounter;
using testing::Runner;

constexpr std::int64_t kSteps = 60;  // from a block's fifth position on

// Sequences that take one token a step, all of the same text from where they are.
class Decoding {
 public:
  // `lengths`: positions that each has already.
  Decoding(Runner& runner, std::span<const std::int64_t> lengths) : runner_(runner) {
    plan_.segments.resize(lengths.size());
    for (std::size_t i = 0; i < lengths.size(); ++i) {
      const auto length = static_cast<std::size_t>(lengths[i]);
      blocks_.push_back(runner.blocks(length + static_cast<std::size_t>(kSteps)));
      plan_.segments[i].tokens = std::span(text_).first(length);
      plan_.segments[i].blocks = blocks_.back();
    }
    runner_.model().forward(plan_, runner_.cache());
  }

  void step() {
    for (Segment& segment : plan_.segments) {
      segment.first_position += std::ssize(segment.tokens);
      segment.tokens =
          std::span(text_).subspan(static_cast<std::size_t>(segment.first_position), 1);
    }
    runner_.model().forward(plan_, runner_.cache());
  }

 private:
  Runner& runner_;
  const std::vector<TokenId> text_ = testing::random_tokens(64, 400, 1);
  std::vector<std::vector<cache::BlockId>> blocks_;
  StepPlan plan_;
};

class Allocation : public ::testing::TestWithParam<std::tuple<std::string, KvType>> {
 protected:
  void SetUp() override {
    if (!AllocationCounter::works()) {
      GTEST_SKIP() << "a sanitizer has malloc()";
    }
  }

  void expect_none(std::span<const std::int64_t> lengths) {
    const auto& [name, kv_type] = GetParam();
    Runner runner(testing::tiny_model(name), {.threads = 2, .kv_type = kv_type});
    Decoding decoding(runner, lengths);
    constexpr int kWarmUp = 3;
    for (int i = 0; i < kWarmUp; ++i) {
      decoding.step();
    }
    const AllocationCounter counter;
    for (std::int64_t i = kWarmUp; i < kSteps; ++i) {
      decoding.step();
    }
    EXPECT_EQ(counter.count(), 0);
  }
};

TEST_P(Allocation, NoneWhileOneSequenceDecodesInsideAKvBlock) {
  expect_none(std::array<std::int64_t, 1>{260});
}

TEST_P(Allocation, NoneWhileSeveralSequencesDecodeInsideTheirKvBlocks) {
  expect_none(std::array<std::int64_t, 4>{260, 4, 132, 68});
}

INSTANTIATE_TEST_SUITE_P(Tiny,
                         Allocation,
                         ::testing::Combine(::testing::ValuesIn(testing::kTinyDecoders),
                                            ::testing::Values(KvType::kF16, KvType::kQ8)),
                         [](const auto& tested) {
                           return std::get<0>(tested.param) + "_" +
                                  std::string(kernels::kv_type_name(std::get<1>(tested.param)));
                         });

}  // namespace
}  // namespace edgewise::model
