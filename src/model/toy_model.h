// Test only: a deterministic Model that is cheap and unforgiving. It writes each token into
// its cache block, and computes logits from nothing but what it reads back from the blocks of
// positions 0 to p: a wrong, stale, shared or half-copied block changes the answer. It also CHECKs
// the rules of model.h. What it stores of a token depends on nothing but its position, so copied
// positions are exact, and wrong ones show; with `marks_copies` they are told from computed ones.
#pragma once

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>

#include "base/check.h"
#include "base/hash.h"
#include "model/model.h"

namespace edgewise::model {

using Tokens = std::vector<TokenId>;

struct ToyOptions {
  std::int64_t vocab = 40;
  std::int64_t context = 1024;    // "trained" length
  TokenId poison = -1;            // logits after this token are not numbers
  bool encoder = false;           // non-causal, pooled
  bool only_largest = false;      // reports no logits but those that a segment needs
  bool marks_copies = false;      // what was copied is not what would have been computed
  std::int64_t weight_bytes = 0;  // what it says of itself, for expectations of its speed
  std::int64_t macs = 0;          // ... a token
  // Share of the rows whose logits are not those of another toy.
  std::function<double()> differs = [] { return 0.0; };
  // Told the tokens of each step, where time passes on a virtual clock.
  std::function<void(std::int64_t tokens)> on_forward = [](std::int64_t) {};
};

class ToyModel : public Model {
 public:
  explicit ToyModel(const ToyOptions& options = {}) : options_(options) {
    spec_.architecture = "toy";
    spec_.vocab = options.vocab;
    spec_.context = options.context;
    spec_.layers.resize(1);
    spec_.causal = !options.encoder;
    spec_.pooling = options.encoder ? Pooling::kMean : Pooling::kNone;
  }

  const ModelSpec& spec() const override { return spec_; }

  std::vector<cache::KvLayerShape> kv_shapes() const override { return {{1, 1, 1}}; }

  std::int64_t weight_bytes() const override { return 0; }

  std::int64_t weight_bytes_per_token() const override { return options_.weight_bytes; }

  std::int64_t macs_per_token() const override { return options_.macs; }

  StepResult forward(const StepPlan& plan, cache::KvCache& cache) override {
    storage_.clear();
    for (const Segment& segment : plan.segments) {
      write(segment, cache);
    }
    for (const Segment& segment : plan.segments) {
      read(segment, cache);
    }
    rows_.assign(storage_.begin(), storage_.end());
    tokens_computed_ += count_tokens(plan);
    options_.on_forward(count_tokens(plan));
    return {rows_};
  }

  void copy_positions(const PositionCopy& copy, cache::KvCache& cache) override {
    for (std::int64_t i = 0; i < copy.count; ++i) {
      const std::int64_t from = copy.from + i;
      const std::int64_t to = copy.to + i;
      const cache::BlockId source = copy.source[block_of(from)];
      const cache::BlockId block = copy.blocks[block_of(to)];
      CHECK(cache.references(source) > 0, "copying from the free block {}", source);
      CHECK(cache.references(block) == 1, "copying to shared block {}", block);
      const auto [key, value] = stored(cache.view(0, source), from % kernels::kKeyBlock);
      const auto token = static_cast<TokenId>(key - 1);
      CHECK(token >= 0 && token < spec_.vocab, "nothing was computed at {}", from);
      store(token, options_.marks_copies ? to + 100000 : to, cache.view(0, block),
            to % kernels::kKeyBlock);
    }
    positions_copied_ += copy.count;
  }

  std::int64_t positions_copied() const { return positions_copied_; }

  std::int64_t tokens_computed() const { return tokens_computed_; }

  std::int64_t rows_cut() const { return rows_cut_; }

 private:
  static std::uint64_t mix(std::uint64_t state, std::uint64_t value) {
    return split_mix(state + kSplitMixStep * (value + 1));
  }

  static std::int64_t count_tokens(const StepPlan& plan) {
    std::int64_t count = 0;
    for (const Segment& segment : plan.segments) {
      count += std::ssize(segment.tokens);
    }
    return count;
  }

  static std::size_t block_of(std::int64_t position) {
    return static_cast<std::size_t>(position / kernels::kKeyBlock);
  }

  void write(const Segment& segment, cache::KvCache& cache) {
    const std::int64_t end = segment.first_position + std::ssize(segment.tokens);
    CHECK(!segment.tokens.empty() && end <= spec_.context, "segment of {} ends at {}",
          segment.tokens.size(), end);
    CHECK(std::ssize(segment.blocks) * kernels::kKeyBlock >= end, "{} blocks for {}",
          segment.blocks.size(), end);
    CHECK(spec_.causal || segment.first_position == 0, "an encoder needs all tokens at once");
    std::int64_t position = segment.first_position;
    for (const TokenId token : segment.tokens) {
      CHECK(token >= 0 && token < spec_.vocab, "token {}", token);
      const cache::BlockId block = segment.blocks[block_of(position)];
      CHECK(cache.references(block) == 1, "writing to shared block {}", block);
      store(token, position, cache.view(0, block), position % kernels::kKeyBlock);
      ++position;
    }
  }

  static void store(TokenId token,
                    std::int64_t position,
                    const kernels::KvBlock& view,
                    std::int64_t slot) {
    const auto fingerprint = static_cast<std::uint16_t>(
        mix(static_cast<std::uint64_t>(position), static_cast<std::uint64_t>(token)));
    if (view.type == kernels::KvType::kF16) {
      view.k_halves()[slot] = static_cast<std::uint16_t>(token + 1);
      view.v_halves()[slot] = fingerprint;
    } else {
      view.k_codes()[slot] = static_cast<std::int8_t>(token);
      view.k_scales[slot] = static_cast<float>(token + 1);
      view.v_codes()[slot] = static_cast<std::int8_t>(fingerprint);
      view.v_scales[slot] = static_cast<float>(fingerprint);
    }
  }

  void read(const Segment& segment, cache::KvCache& cache) {
    if (segment.want == Want::kNothing) {
      return;
    }
    const std::int64_t end = segment.first_position + std::ssize(segment.tokens);
    const bool all = segment.want == Want::kAllLogits;
    std::uint64_t state = 0;
    for (std::int64_t position = 0; position < end; ++position) {
      const kernels::KvBlock view = cache.view(0, segment.blocks[block_of(position)]);
      const std::int64_t slot = position % kernels::kKeyBlock;
      const auto [key, value] = stored(view, slot);
      state = mix(mix(state, key), value);
      if (position == end - 1 || (all && position >= segment.first_position)) {
        emit(segment, segment.tokens[static_cast<std::size_t>(position - segment.first_position)],
             state);
      }
    }
  }

  // What write() has put there; whatever else it is, something else.
  static std::pair<std::uint64_t, std::uint64_t> stored(const kernels::KvBlock& view,
                                                        std::int64_t slot) {
    if (view.type == kernels::KvType::kF16) {
      return {view.k_halves()[slot], view.v_halves()[slot]};
    }
    const auto key = static_cast<std::uint64_t>(view.k_scales[slot]);
    const auto value = static_cast<std::uint64_t>(view.v_scales[slot]);
    const bool whole = view.k_codes()[slot] == static_cast<std::int8_t>(key - 1) &&
                       view.v_codes()[slot] == static_cast<std::int8_t>(value);
    return {whole ? key : ~key, value};
  }

  void emit(const Segment& segment, TokenId last, std::uint64_t state) {
    const bool embeds = segment.want == Want::kEmbedding;
    CHECK(embeds == options_.encoder, "the toy encoder embeds, the toy decoder generates");
    std::vector<float> row(static_cast<std::size_t>(embeds ? 8 : spec_.vocab));
    if (static_cast<double>(mix(state, 77) >> 40) < options_.differs() * (1 << 24)) {
      state = mix(state, 78);
    }
    for (std::size_t i = 0; i < row.size(); ++i) {
      row[i] = static_cast<float>(mix(state, i) >> 40) / static_cast<float>(1 << 24) * 6.0F;
    }
    if (last == options_.poison) {
      row.assign(row.size(), std::numeric_limits<float>::quiet_NaN());
    }
    if (options_.only_largest && segment.want == Want::kLastLogits && segment.largest > 0 &&
        segment.largest < std::ssize(row)) {
      std::vector<float> sorted = row;
      const auto smallest = sorted.begin() + segment.largest - 1;
      std::nth_element(sorted.begin(), smallest, sorted.end(), std::greater<>());
      for (float& logit : row) {
        logit = logit < *smallest ? -std::numeric_limits<float>::infinity() : logit;
      }
      ++rows_cut_;
    }
    storage_.push_back(std::move(row));
  }

  ToyOptions options_;
  ModelSpec spec_;
  std::vector<std::vector<float>> storage_;
  std::vector<std::span<float>> rows_;  // the same
  std::int64_t tokens_computed_ = 0;
  std::int64_t rows_cut_ = 0;
  std::int64_t positions_copied_ = 0;
};

// That the default toy knows, other than its first.
inline Tokens some_tokens(std::size_t n, TokenId first = 1) {
  Tokens tokens(n);
  for (std::size_t i = 0; i < n; ++i) {
    tokens[i] = static_cast<TokenId>(1 + (i * 7 + static_cast<std::size_t>(first)) % 39);
  }
  return tokens;
}

}  // namespace edgewise::model
