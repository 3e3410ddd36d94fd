#include "reuse/common_runs.h"

#include <algorithm>
#include <cstdlib>
#include <queue>
#include <tuple>

#include "base/check.h"

namespace edgewise::reuse {
namespace {

constexpr std::int64_t kGram = 16;
constexpr std::uint64_t kFactor = 0x9E3779B97F4A7C15ULL;  // any odd number with mixed bits

constexpr std::uint64_t power(std::uint64_t base, std::int64_t exponent) {
  std::uint64_t result = 1;
  for (std::int64_t i = 0; i < exponent; ++i) {
    result *= base;
  }
  return result;
}

std::uint64_t code_of(TokenId token) {
  return static_cast<std::uint64_t>(static_cast<std::uint32_t>(token)) + 1;
}

std::uint64_t hash_of(std::span<const TokenId> gram) {
  std::uint64_t hash = 0;
  for (const TokenId token : gram) {
    hash = hash * kFactor + code_of(token);
  }
  return hash;
}

struct Anchor {
  std::uint64_t hash = 0;
  std::size_t source = 0;
  std::int64_t from = 0;

  auto operator<=>(const Anchor&) const = default;
};

std::vector<Anchor> anchors_of(std::span<const std::span<const TokenId>> sources) {
  std::vector<Anchor> anchors;
  for (std::size_t s = 0; s < sources.size(); ++s) {
    for (std::int64_t at = 0; at + kGram <= std::ssize(sources[s]); at += kGram) {
      anchors.push_back({hash_of(sources[s].subspan(static_cast<std::size_t>(at), kGram)), s, at});
    }
  }
  std::ranges::sort(anchors);
  return anchors;
}

class Search {
 public:
  Search(std::span<const TokenId> text,
         std::int64_t first,
         std::span<const std::span<const TokenId>> sources)
      : text_(text), first_(first), sources_(sources) {
    std::size_t diagonals = 0;
    for (const auto& source : sources) {
      diagonals_.push_back(diagonals);
      diagonals += source.size() + text.size();
    }
    reached_.assign(diagonals, 0);
  }

  // All maximal runs that contain an anchor.
  std::vector<CommonRun> run() {
    const std::vector<Anchor> anchors = anchors_of(sources_);
    constexpr std::uint64_t kOldest = power(kFactor, kGram);
    const std::int64_t last = std::ssize(text_) - kGram;
    std::uint64_t hash = 0;
    for (std::int64_t at = first_; at <= last && compared_ < kMostCompared; ++at) {
      hash = at == first_ ? hash_of(text_.subspan(static_cast<std::size_t>(at), kGram))
                          : hash * kFactor + token(at + kGram - 1) - token(at - 1) * kOldest;
      const auto same = std::ranges::equal_range(anchors, hash, {}, &Anchor::hash);
      for (const Anchor& anchor : same) {
        if (++compared_ >= kMostCompared) {
          break;
        }
        extend(at, anchor);
      }
    }
    return std::move(found_);
  }

 private:
  std::uint64_t token(std::int64_t at) const {
    return code_of(text_[static_cast<std::size_t>(at)]);
  }

  void extend(std::int64_t at, const Anchor& anchor) {
    const std::span<const TokenId> source = sources_[anchor.source];
    std::int64_t& reached =
        reached_[diagonals_[anchor.source] +
                 static_cast<std::size_t>(at - anchor.from + std::ssize(source))];
    if (at < reached) {
      return;  // inside a run that is known
    }
    const auto text_at = text_.begin() + at;
    const auto source_at = source.begin() + anchor.from;
    const auto after = std::mismatch(text_at, text_.end(), source_at, source.end()).first - text_at;
    const auto before =
        std::mismatch(std::reverse_iterator(text_at), std::reverse_iterator(text_.begin() + first_),
                      std::reverse_iterator(source_at), source.rend())
            .first -
        std::reverse_iterator(text_at);
    compared_ += after + before;
    if (after >= kGram) {  // else only the hashes are the same
      reached = at + after;
      found_.push_back({.begin = at - before,
                        .length = before + after,
                        .source = anchor.source,
                        .from = anchor.from - before});
    }
  }

  std::span<const TokenId> text_;
  std::int64_t first_;
  std::span<const std::span<const TokenId>> sources_;
  std::vector<std::size_t> diagonals_;  // of each source, where its part of `reached_` begins
  std::vector<std::int64_t> reached_;   // of each diagonal, the end of its last run in the text
  std::vector<CommonRun> found_;
  std::int64_t compared_ = 0;
};

// Of equally long ones, what moves least: keys that stay where they are need no rounding.
bool is_worse(const CommonRun& a, const CommonRun& b) {
  const auto rank = [](const CommonRun& run) {
    return std::tuple(-run.length, std::abs(run.begin - run.from), run.source, run.begin);
  };
  return rank(a) > rank(b);
}

CommonRun part_of(const CommonRun& run, std::int64_t begin, std::int64_t end) {
  return {.begin = begin,
          .length = end - begin,
          .source = run.source,
          .from = run.from + begin - run.begin};
}

}  // namespace

std::vector<CommonRun> find_common_runs(std::span<const TokenId> text,
                                        std::int64_t first,
                                        std::span<const std::span<const TokenId>> sources,
                                        std::int64_t shortest) {
  CHECK(shortest >= kShortestRun && first >= 0, "runs of {} from {}", shortest, first);
  std::priority_queue<CommonRun, std::vector<CommonRun>, decltype(&is_worse)> longest(is_worse);
  const auto offer = [&](const CommonRun& run) {
    if (run.length >= shortest) {
      longest.push(run);
    }
  };
  for (const CommonRun& run : Search(text, first, sources).run()) {
    offer(run);
  }
  std::vector<CommonRun> taken;
  while (!longest.empty() && taken.size() < kMostRuns) {
    const CommonRun run = longest.top();
    longest.pop();
    const auto other = std::ranges::find_if(taken, [&](const CommonRun& earlier) {
      return run.begin < earlier.end() && earlier.begin < run.end();
    });
    if (other == taken.end()) {
      taken.push_back(run);
      continue;
    }
    offer(part_of(run, run.begin, std::max(run.begin, other->begin)));
    offer(part_of(run, std::min(run.end(), other->end()), run.end()));
  }
  std::ranges::sort(taken, {}, &CommonRun::begin);
  return taken;
}

}  // namespace edgewise::reuse
