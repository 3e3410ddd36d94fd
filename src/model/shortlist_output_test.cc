// A model whose output layer a shortlist answers from: the logits that are asked for are those of the full product.
#include <gtest/gtest.h>
#include <unistd.h>

#include <fstream>
#include <functional>

#include "kernels/test_support.h"
#include "model/test_support.h"
#include "platform/allocation_counter.h"
#include "tensor/gguf_test_writer.h"

namespace edgewise::model {
namespace {

using tensor::DType;
using testing::Logits;
using testing::Runner;

constexpr std::int64_t kVocab = 1024;

std::string_view text_of(std::span<const std::byte> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

// The tiny llama with another vocabulary and an output layer in Q8_0. The file is removed with this object.
class LargeOutputFile {
 public:
  LargeOutputFile() {
    auto tiny = tensor::ModelFile::open(testing::tiny_model("llama"));
    EXPECT_TRUE(tiny.has_value());
    tiny->drop_metadata_arrays();  // the old vocabulary
    tensor::GgufWriter writer;
    for (const auto& [key, value] : tiny->metadata().all()) {
      if (key != "llama.vocab_size") {
        writer.add_value(key, value);
      }
    }
    const std::int64_t width = tiny->find("token_embd.weight")->cols();
    for (const tensor::TensorView& tensor : tiny->tensors()) {
      if (tensor.name != "token_embd.weight" && tensor.name != "output.weight") {
        add(writer, tensor.name, tensor.type, tensor.shape, tensor.data);
      }
    }
    for (const auto& [name, type] :
         {std::pair{"token_embd.weight", DType::kF32}, {"output.weight", DType::kQ8_0}}) {
      add(writer, name, type, {width, kVocab},
          kernels::testing::random_blocks(type, kVocab, width, 1));
    }
    const std::vector<std::byte> bytes = writer.bytes();
    std::ofstream(path_, std::ios::binary) << text_of(bytes);
  }

  ~LargeOutputFile() { std::filesystem::remove(path_); }

  LargeOutputFile(const LargeOutputFile&) = delete;
  LargeOutputFile& operator=(const LargeOutputFile&) = delete;

  const std::filesystem::path& path() const { return path_; }

 private:
  static void add(tensor::GgufWriter& writer,
                  std::string_view name,
                  DType type,
                  const std::vector<std::int64_t>& shape,
                  std::span<const std::byte> data) {
    writer.add_tensor(name, static_cast<std::uint32_t>(type), shape, text_of(data));
  }

  std::filesystem::path path_ = std::filesystem::temp_directory_path() /
                                ("edgewise-output-" + std::to_string(::getpid()) + ".gguf");
};

class ShortlistOutput : public ::testing::Test {
 protected:
  // The logits of each next token, of which the `largest` are asked for.
  Logits decode(Runner& runner, std::span<const TokenId> tokens, std::int64_t largest) {
    const auto blocks = runner.blocks(tokens.size());
    Logits rows;
    for (std::size_t i = 0; i < tokens.size(); ++i) {
      rows.push_back(runner.forward({{tokens.subspan(i, 1), static_cast<std::int64_t>(i), blocks,
                                      Want::kLastLogits, largest}})[0]);
    }
    std::ranges::for_each(blocks, [&](auto id) { runner.cache().release(id); });
    return rows;
  }

  const LargeOutputFile file_;
  const std::vector<TokenId> tokens_ = testing::random_tokens(kVocab, 150, 7);
};

TEST_F(ShortlistOutput, GivesTheBitsOfTheFullProduct) {
  const Logits all = Runner(file_.path()).all_logits(tokens_);
  for (const kernels::KernelTable* table : kernels::supported_tables()) {
    for (const int threads : {1, 2}) {
      Runner runner(file_.path(), {.threads = threads, .shortlist = true, .table = table});
      EXPECT_EQ(runner.all_logits(tokens_), all);
      for (const std::int64_t largest : {1, 3, 40}) {
        const Logits rows = decode(runner, tokens_, largest);
        for (std::size_t i = 0; i < rows.size(); ++i) {
          std::vector<float> sorted = all[i];
          std::ranges::sort(sorted, std::greater<>());
          const float last = sorted[static_cast<std::size_t>(largest - 1)];
          for (std::size_t id = 0; id < rows[i].size(); ++id) {
            ASSERT_TRUE(rows[i][id] == all[i][id] || (std::isinf(rows[i][id]) && all[i][id] < last))
                << table->name << ", token " << i << ", id " << id;
          }
        }
      }
      EXPECT_GT(runner.model().shortlist_counts().used, std::ssize(tokens_)) << table->name;
    }
  }
}

TEST_F(ShortlistOutput, AllocatesNothingWhileOneSequenceDecodes) {
  if (!platform::AllocationCounter::works()) {
    GTEST_SKIP() << "a sanitizer has malloc()";
  }
  Runner runner(file_.path(), {.threads = 2, .shortlist = true});
  const auto blocks = runner.blocks(60);
  StepPlan plan{{{std::span(tokens_).first(10), 0, blocks, Want::kLastLogits, 3}}};
  const auto step = [&] {
    Segment& segment = plan.segments.front();
    segment.first_position += std::ssize(segment.tokens);
    segment.tokens =
        std::span(tokens_).subspan(static_cast<std::size_t>(segment.first_position), 1);
    runner.model().forward(plan, runner.cache());
  };
  runner.model().forward(plan, runner.cache());
  step();
  const std::int64_t used_before = runner.model().shortlist_counts().used;
  const platform::AllocationCounter counter;
  for (int i = 0; i < 40; ++i) {
    step();
  }
  EXPECT_EQ(counter.count(), 0);
  EXPECT_GT(runner.model().shortlist_counts().used, used_before);
}

}  // namespace
}  // namespace edgewise::model
