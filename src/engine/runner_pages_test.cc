// Beginnings kept on disk: they survive a restart, change no answer, and whatever happens to the files is
// only more to compute.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <future>
#include <map>
#include <thread>

#include "engine/runner.h"
#include "kernels/ops.h"
#include "model/toy_model.h"
#include "platform/worker_pool.h"
#include "reuse/page_key.h"
#include "tensor/model_file.h"

namespace edgewise::engine {
namespace {

namespace fs = std::filesystem;
using kernels::KvType;
using Tokens = std::vector<TokenId>;

constexpr std::int64_t kBudget = 1 << 20;

struct Answer {
  Tokens tokens;
  std::vector<float> logprobs;
  std::optional<FinishReason> finish;
  std::optional<Error> error;
  Usage usage;
};

struct Ask {
  Tokens prompt;
  std::int64_t max_tokens = 5;
  std::string tenant = {};
  std::uint64_t seed = 1;
  std::optional<Clock::time_point> first_token_deadline = {};
};

RunnerOptions runner_options(std::int64_t context) {
  RunnerOptions options;
  options.context = context;
  options.max_sequences = 4;
  options.limits.tokens = 100;
  options.limits.alone_seconds = options.limits.shared_seconds = 1e9;
  options.page_patience = 1e9;
  return options;
}

// A runner from its start to its end, over a folder that may outlive it.
class Process {
 public:
  explicit Process(
      const fs::path& folder,
      std::int64_t blocks = 64,
      std::int64_t budget = kBudget,
      std::unique_ptr<model::Model> model = std::make_unique<model::ToyModel>(),
      const char* label = "toy",
      KvType kv_type = KvType::kF16,
      std::function<void()> on_change = [] {}) {
    auto cache = cache::KvCache::create(model->kv_shapes(), blocks, kv_type).value();
    std::unique_ptr<reuse::PageTraffic> pages;
    if (!folder.empty()) {
      const std::int64_t bytes = cache::KvCache::block_bytes(model->kv_shapes(), kv_type);
      pages = std::make_unique<reuse::PageTraffic>(
          cache::PageStore::open(folder, bytes, budget).value(),
          reuse::model_key(label, *model, *cache).value(), std::move(on_change));
    }
    const std::int64_t context = std::min<std::int64_t>(blocks * 64, model->spec().context);
    runner_ = std::make_unique<Runner>(std::move(model), std::move(cache), runner_options(context),
                                       std::move(pages));
  }

  RequestId ask(const Ask& ask) {
    auto sequence = std::make_unique<Sequence>();
    sequence->id = ++last_id_;
    sequence->submitted = Clock::now();
    sequence->tokens = ask.prompt;
    sequence->prompt_tokens = std::ssize(ask.prompt);
    sequence->request.max_tokens = ask.max_tokens;
    sequence->request.ignore_eos = true;
    sequence->request.tenant = ask.tenant;
    sequence->request.first_token_deadline = ask.first_token_deadline;
    Answer& answer = answers_[last_id_];
    sequence->request.on_event = [&answer](const Event& event) {
      if (event.draw) {
        answer.tokens.push_back(event.draw->token);
        answer.logprobs.push_back(event.draw->logprob);
      }
      if (event.finish) {
        answer.finish = event.finish;
        answer.error = event.error;
        answer.usage = event.usage;
      }
      return Reply::kGoOn;
    };
    sampling::SamplingParams params;
    params.seed = ask.seed;
    params.top_logprobs = 0;
    sequence->sampler.emplace(params, ask.prompt, nullptr);
    runner_->add(std::move(sequence));
    return last_id_;
  }

  // As the engine thread does.
  void step() {
    runner_->exchange_pages();
    if (!runner_->idle()) {
      runner_->step();
    } else if (!is_done()) {
      std::this_thread::sleep_for(std::chrono::microseconds(50));
    }
  }

  bool is_done() {
    const EngineStats& stats = runner_->stats();
    return stats.running + stats.waiting == 0;
  }

  // For what is on disk of a beginning.
  bool is_looking() { return runner_->idle() && !is_done(); }

  const Answer& answer_to(const Ask& question) {
    const RequestId id = ask(question);
    while (!is_done()) {
      step();
    }
    return answers_[id];
  }

  const Answer& answer(RequestId id) { return answers_[id]; }

  Runner& runner() { return *runner_; }

 private:
  std::map<RequestId, Answer> answers_;
  std::unique_ptr<Runner> runner_;
  RequestId last_id_ = 0;
};

Tokens some_tokens(std::size_t n, TokenId first = 1) {
  Tokens tokens(n);
  for (std::size_t i = 0; i < n; ++i) {
    tokens[i] = static_cast<TokenId>(1 + (i * 7 + static_cast<std::size_t>(first)) % 39);
  }
  return tokens;
}

// A shared beginning and an end of one's own.
Ask with_end(std::size_t shared, TokenId end, std::string tenant = {}) {
  Ask ask{some_tokens(shared), 5, std::move(tenant)};
  ask.prompt.insert(ask.prompt.end(), 10, end);
  return ask;
}

class PagesTest : public ::testing::Test {
 protected:
  PagesTest() {
    std::string name = (fs::temp_directory_path() / "edgewise-pages-XXXXXX").string();
    root_ = mkdtemp(name.data());
  }

  ~PagesTest() override { fs::remove_all(root_); }

  fs::path folder() const { return root_ / "kv"; }

  // Asked twice, so that the beginning (7 blocks) is worth keeping.
  void fill(const std::string& tenant = {}) const {
    Process process(folder());
    process.answer_to(with_end(450, 1, tenant));
    process.answer_to(with_end(450, 2, tenant));
  }

  std::int64_t files() const { return std::distance(fs::directory_iterator(folder()), {}); }

  fs::path root_;
};

TEST_F(PagesTest, ABeginningThatWasUsedTwiceSurvivesARestart) {
  fill();
  EXPECT_EQ(files(), 7);
  const Ask third = with_end(450, 3);
  Process process(folder());
  const Answer& answer = process.answer_to(third);
  EXPECT_EQ(answer.usage.cached_tokens, 448);
  EXPECT_EQ(answer.tokens, Process("").answer_to(third).tokens);
  EXPECT_EQ(process.runner().stats().disk.found_total, 7);
  EXPECT_EQ(process.runner().stats().kv_blocks_mapped, 7);
}

TEST_F(PagesTest, WhatWasUsedOnceIsNotWritten) {
  {
    Process process(folder());
    process.answer_to(with_end(450, 1));
  }
  EXPECT_EQ(files(), 0);
}

TEST_F(PagesTest, ItIsWrittenWhileTheProcessLives) {
  Process process(folder());
  process.answer_to(with_end(450, 1));
  process.answer_to(with_end(450, 2));
  for (int i = 0; i < 10'000 && process.runner().stats().disk.written_total < 7; ++i) {
    process.step();
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  EXPECT_EQ(files(), 7);
  Process beside(folder());  // a second process reads the same files
  EXPECT_EQ(beside.answer_to(with_end(450, 3)).usage.cached_tokens, 448);
  EXPECT_EQ(process.answer_to(with_end(450, 3)).tokens, beside.answer_to(with_end(450, 3)).tokens);
}

TEST_F(PagesTest, PagesAreSharedAndEvictedLikeOtherBlocks) {
  fill();
  Process process(folder(), 10);
  for (TokenId end = 3; end < 6; ++end) {
    const Ask ask = with_end(450, end);
    EXPECT_EQ(process.answer_to(ask).tokens, Process("").answer_to(ask).tokens);
  }
  EXPECT_EQ(process.runner().stats().kv_blocks_mapped, 7);
  const Ask other{some_tokens(600, 17), 5};  // needs all but what is in use
  EXPECT_EQ(process.answer_to(other).tokens, Process("").answer_to(other).tokens);
  EXPECT_LT(process.runner().stats().kv_blocks_mapped, 7);
  process.runner().prefixes().clear();
  EXPECT_EQ(process.runner().stats().kv_blocks_mapped, 0);
  EXPECT_EQ(process.runner().cache().free_blocks(), process.runner().cache().capacity());
}

TEST_F(PagesTest, TenantsShareNothingOnDisk) {
  fill("a");
  Process process(folder());
  EXPECT_EQ(process.answer_to(with_end(450, 3, "b")).usage.cached_tokens, 0);
  EXPECT_EQ(process.answer_to(with_end(450, 3, "")).usage.cached_tokens, 0);
  EXPECT_EQ(process.runner().stats().disk.found_total, 0);
  EXPECT_EQ(process.answer_to(with_end(450, 3, "a")).usage.cached_tokens, 448);
}

TEST_F(PagesTest, AnotherModelFindsNothing) {
  fill();
  const Ask third = with_end(450, 3);
  Process relabelled(folder(), 64, kBudget, std::make_unique<model::ToyModel>(), "another file");
  EXPECT_EQ(relabelled.answer_to(third).usage.cached_tokens, 0);
  model::ToyOptions other;
  other.vocab = 48;
  Process changed(folder(), 64, kBudget, std::make_unique<model::ToyModel>(other));
  EXPECT_EQ(changed.answer_to(third).usage.cached_tokens, 0);
}

// The folder is one for servers of both kinds; each finds its own, and takes nothing from the other.
TEST_F(PagesTest, PagesOfAnotherKvTypeAreNotFoundAndStay) {
  fill();
  const auto process_with = [&](KvType type) {
    return Process(folder(), 64, kBudget, std::make_unique<model::ToyModel>(), "toy", type);
  };
  const Ask third = with_end(450, 3);
  {
    Process process = process_with(KvType::kQ8);
    const Answer& answer = process.answer_to(third);
    EXPECT_EQ(answer.usage.cached_tokens, 0);
    EXPECT_EQ(answer.tokens, Process("").answer_to(third).tokens);
    EXPECT_EQ(process.runner().stats().disk.refused_total, 0);
    process.answer_to(with_end(450, 4));  // the second use: now they are written
  }
  EXPECT_EQ(files(), 14);
  for (const KvType type : {KvType::kF16, KvType::kQ8}) {
    EXPECT_EQ(process_with(type).answer_to(with_end(450, 5)).usage.cached_tokens, 448);
  }
}

TEST_F(PagesTest, ADamagedPageIsComputedAgainAndReplaced) {
  fill();
  for (const auto& entry : fs::directory_iterator(folder())) {
    fs::resize_file(entry.path(), 5000);
  }
  const Ask third = with_end(450, 3);
  {
    Process process(folder());
    const Answer& answer = process.answer_to(third);
    EXPECT_EQ(answer.usage.cached_tokens, 0);
    EXPECT_EQ(answer.tokens, Process("").answer_to(third).tokens);
    EXPECT_EQ(process.runner().stats().disk.refused_total, 1);
    process.answer_to(with_end(450, 4));
  }
  Process process(folder());
  EXPECT_GT(process.answer_to(third).usage.cached_tokens, 0);
}

TEST_F(PagesTest, AFolderThatGoesAwayChangesNoAnswer) {
  Process process(folder());
  fs::remove_all(folder());
  for (TokenId end = 1; end < 5; ++end) {
    const Ask ask = with_end(450, end);
    EXPECT_EQ(process.answer_to(ask).tokens, Process("").answer_to(ask).tokens);
  }
  EXPECT_EQ(process.runner().stats().disk.written_total, 0);
}

TEST_F(PagesTest, WhoIsCancelledWhileHisPagesAreReadGetsOneAnswer) {
  fill();
  Process process(folder());
  const RequestId id = process.ask(with_end(450, 3));
  EXPECT_TRUE(process.is_looking());
  process.runner().cancel(id);
  EXPECT_EQ(process.answer(id).finish, FinishReason::kCancelled);
  EXPECT_TRUE(process.is_done());
  EXPECT_EQ(process.answer_to(with_end(450, 4)).finish, FinishReason::kLength);
}

TEST_F(PagesTest, WhoHasLeftOrIsLateIsNotReadFor) {
  fill();
  std::promise<void> disk;
  Process process(folder(), 64, kBudget, std::make_unique<model::ToyModel>(), "toy", KvType::kF16,
                  [answers = disk.get_future().share()] { answers.wait(); });
  const RequestId first = process.ask(with_end(450, 3));
  Ask ask = with_end(450, 4);
  ask.first_token_deadline = Clock::now() + std::chrono::hours(1);
  const RequestId patient = process.ask(ask);
  ask.first_token_deadline = Clock::now();
  const RequestId late = process.ask(ask);
  const RequestId leaves = process.ask(with_end(450, 5));
  process.runner().end_early();
  EXPECT_EQ(process.answer(late).error->code, ErrorCode::kDeadlineExceeded);
  EXPECT_FALSE(process.answer(patient).finish.has_value());
  EXPECT_EQ(process.runner().stats().expired_waiting_total, 1);
  process.runner().cancel(leaves);
  disk.set_value();
  process.answer_to(with_end(450, 1, "who comes after them"));
  EXPECT_EQ(process.answer(first).finish, FinishReason::kLength);
  EXPECT_EQ(process.answer(patient).finish, FinishReason::kLength);
  EXPECT_EQ(process.runner().stats().disk.found_total, 2 * 7);
}

// A model with weights, layers and attention: mapped keys and values give the logits' very bits.
class PagesOfKvType : public PagesTest, public ::testing::WithParamInterface<KvType> {};

INSTANTIATE_TEST_SUITE_P(Types,
                         PagesOfKvType,
                         ::testing::Values(KvType::kF16, KvType::kQ8),
                         [](const auto& tested) {
                           return std::string(kernels::kv_type_name(tested.param));
                         });

TEST_P(PagesOfKvType, RealKernelsReadPagesInPlace) {
  platform::WorkerPool pool(2);
  kernels::Ops ops(pool, **kernels::select_table());
  const auto process = [&](const fs::path& pages) {
    auto file = std::make_shared<const tensor::ModelFile>(
        tensor::ModelFile::open(fs::path(EDGEWISE_SOURCE_DIR) /
                                "tests/golden/tiny_models/llama.gguf")
            .value());
    return std::make_unique<Process>(pages, 8, 1 << 24, model::Model::load(file, ops).value(),
                                     "llama", GetParam());
  };
  const Ask first{some_tokens(150), 30};
  Ask second = first;
  second.prompt.push_back(2);
  const Answer expected = process("")->answer_to(second);
  {
    const auto before = process(folder());
    before->answer_to(first);
    before->answer_to(first);
  }
  const auto after = process(folder());
  const Answer& answer = after->answer_to(second);
  EXPECT_EQ(answer.usage.cached_tokens, 128);
  EXPECT_EQ(after->runner().stats().kv_blocks_mapped, 2);
  EXPECT_EQ(answer.tokens, expected.tokens);
  EXPECT_EQ(answer.logprobs, expected.logprobs);
}

// As a power cut may leave it. The copy is exchanged for the file: renamed over it, it would come back where the store has
// evicted it meanwhile.
void damage(const fs::path& file) {
  std::error_code vanished;
  const fs::path copy = file.parent_path() / "copy";
  fs::copy_file(file, copy, vanished);
  std::fstream(copy, std::ios::in | std::ios::out | std::ios::binary).seekp(4200) << "x~x~";
  ::renameat2(AT_FDCWD, copy.c_str(), AT_FDCWD, file.c_str(), RENAME_EXCHANGE);
  fs::remove(copy, vanished);
}

// Random requests of two tenants over restarts, with little memory and little disk, while files are
// damaged and removed.
RC_GTEST_PROP(PagesProperty, EveryAnswerIsTheOneWithoutADisk, ()) {
  std::string name = (fs::temp_directory_path() / "edgewise-pages-XXXXXX").string();
  const fs::path folder = mkdtemp(name.data());
  const std::int64_t most_files = *rc::gen::inRange<std::int64_t>(1, 9);
  const KvType type = *rc::gen::element(KvType::kF16, KvType::kQ8);
  const std::int64_t page_bytes = cache::KvCache::block_bytes(model::ToyModel().kv_shapes(), type);
  const Tokens stem = some_tokens(500);
  cache::PageStoreStats seen;
  for (int life = 0; life < 3; ++life) {
    Process process(folder, 8, most_files * (4096 + page_bytes),
                    std::make_unique<model::ToyModel>(), "toy", type);
    std::map<RequestId, Ask> asks;
    const auto count = *rc::gen::inRange<std::size_t>(1, 8);
    while (asks.size() < count || !process.is_done()) {
      const int what = *rc::gen::inRange(0, 12);
      if (asks.size() < count && (process.is_done() || what < 3)) {
        Ask ask;
        ask.prompt.assign(stem.begin(), stem.begin() + *rc::gen::inRange(1, 400));
        ask.prompt.push_back(*rc::gen::inRange<TokenId>(1, 40));
        ask.max_tokens = *rc::gen::inRange<std::int64_t>(1, 80);
        ask.tenant = *rc::gen::inRange(0, 3) == 0 ? "other" : "";
        asks[process.ask(ask)] = ask;
      } else if (what >= 9) {
        const fs::directory_iterator file(folder);
        if (file != fs::directory_iterator() && *rc::gen::inRange(0, 2) == 0) {
          std::error_code vanished;
          fs::remove(file->path(), vanished);
        } else if (file != fs::directory_iterator()) {
          damage(file->path());
        }
      } else {
        process.step();
      }
    }
    for (const auto& [id, ask] : asks) {
      const Answer& answer = process.answer(id);
      const Answer expected = Process("", 8).answer_to(ask);
      RC_ASSERT(answer.finish == expected.finish);
      RC_ASSERT(answer.tokens == expected.tokens);
      RC_ASSERT(answer.logprobs == expected.logprobs);
    }
    const cache::PageStoreStats& stats = process.runner().stats().disk;
    seen.found_total += stats.found_total;
    seen.refused_total += stats.refused_total;
    seen.evicted_total += stats.evicted_total;
    process.runner().prefixes().clear();
    RC_ASSERT(process.runner().cache().free_blocks() == process.runner().cache().capacity());
    RC_ASSERT(process.runner().cache().mapped_blocks() == 0);
    RC_ASSERT(std::distance(fs::directory_iterator(folder), {}) <= most_files);
  }
  fs::remove_all(folder);
  RC_CLASSIFY(seen.found_total > 0, "found pages");
  RC_CLASSIFY(seen.refused_total > 0, "refused pages");
  RC_CLASSIFY(seen.evicted_total > 0, "evicted pages");
}

}  // namespace
}  // namespace edgewise::engine
