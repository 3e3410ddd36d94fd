#include "shortlist_bench.h"

#include <algorithm>
#include <bit>
#include <chrono>
#include <functional>

#include "input.h"
#include "text/tokenizer.h"

namespace edgewise::app {
namespace {

constexpr std::int64_t kPrompt = 64;

// The first `count` tokens of a text.
Result<std::vector<TokenId>> read_tokens(const BareModel& bare,
                                         const std::string& file,
                                         std::int64_t count) {
  const auto tokenizer = TRY(text::Tokenizer::create(bare.file->metadata()));
  std::vector<TokenId> tokens = tokenizer->encode(TRY(read_text(file)));
  if (std::ssize(tokens) < count) {
    return fail(ErrorCode::kInvalidArgument, "{} has {} tokens, fewer than {}", file, tokens.size(),
                count);
  }
  tokens.resize(static_cast<std::size_t>(count));
  return tokens;
}

// Every reported logit has the bits of `all`, and the `largest` of them are reported.
bool agree(const std::vector<float>& all, std::span<const float> some, std::int64_t largest) {
  std::vector<float> sorted = all;
  const auto last = sorted.begin() + largest - 1;
  std::nth_element(sorted.begin(), last, sorted.end(), std::greater<>());
  for (std::size_t i = 0; i < all.size(); ++i) {
    const bool same = std::bit_cast<std::uint32_t>(all[i]) == std::bit_cast<std::uint32_t>(some[i]);
    if (!same && (some[i] > std::numeric_limits<float>::lowest() || all[i] >= *last)) {
      return false;
    }
  }
  return true;
}

class Steps {
 public:
  Steps(BareModel& bare, cache::KvCache& cache, std::span<const TokenId> tokens)
      : model_(*bare.model), cache_(cache), blocks_(cache), tokens_(tokens) {
    run(0, kPrompt, model::Want::kNothing, 0);
  }

  // Seconds of one token's step; its logits into `row`.
  double decode(std::int64_t position, std::int64_t largest, std::span<float>& row) {
    const auto start = std::chrono::steady_clock::now();
    row = run(position, 1, model::Want::kLastLogits, largest).rows.front();
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  }

 private:
  model::StepResult run(std::int64_t at,
                        std::int64_t count,
                        model::Want want,
                        std::int64_t largest) {
    model::StepPlan plan;
    plan.segments.push_back(
        {.tokens = tokens_.subspan(static_cast<std::size_t>(at), static_cast<std::size_t>(count)),
         .first_position = at,
         .blocks = blocks_.grow_to(at + count),
         .want = want,
         .largest = largest});
    return model_.forward(plan, cache_);
  }

  model::Model& model_;
  cache::KvCache& cache_;
  SequenceBlocks blocks_;
  std::span<const TokenId> tokens_;
};

}  // namespace

Result<ShortlistMeasurement> measure_shortlist(BareModel& bare,
                                               const std::string& text_file,
                                               std::int64_t largest,
                                               std::int64_t steps) {
  TRY_VOID(check_range("--largest", largest, 1, bare.model->spec().vocab));
  const std::int64_t count = kPrompt + steps;
  TRY_VOID(check_range("--generate (after 64 tokens of the text)", count, 1,
                       bare.model->spec().context));
  const std::vector<TokenId> tokens = TRY(read_tokens(bare, text_file, count));
  const auto cache = TRY(create_cache(*bare.model, 1, count, kernels::KvType::kF16));
  Steps runner(bare, *cache, tokens);
  const kernels::ShortlistCounts before = bare.model->shortlist_counts();
  ShortlistMeasurement result{.largest = largest, .steps = steps, .counts = {}};
  std::span<float> row;
  for (std::int64_t position = kPrompt; position < count; ++position) {
    result.full_seconds += runner.decode(position, 0, row);
    const std::vector<float> all(row.begin(), row.end());
    result.seconds += runner.decode(position, largest, row);
    if (!agree(all, row, largest)) {
      return fail(ErrorCode::kInternal, "the shortlist differs from the full product at token {}",
                  position);
    }
  }
  const kernels::ShortlistCounts after = bare.model->shortlist_counts();
  result.counts = {after.used - before.used, after.fallbacks - before.fallbacks,
                   after.survivors - before.survivors, after.rescored - before.rescored};
  return result;
}

}  // namespace edgewise::app
