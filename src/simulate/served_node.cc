#include "simulate/served_node.h"

#include <algorithm>
#include <memory>
#include <optional>

#include "cache/kv_cache.h"
#include "engine/runner.h"
#include "simulate/timed_model.h"

namespace edgewise::simulate {
namespace {

using engine::Clock;

constexpr std::int64_t kBlock = kernels::kKeyBlock;
constexpr std::int64_t kMostTokens = std::int64_t{1} << 26;  // of all requests: they are held
constexpr std::size_t kLearnedFrom = 32;  // requests before the first, to measure steps
constexpr std::int64_t kLearnedTogether = 8;
constexpr double kForever = 1e8;  // seconds; later deadlines are none
constexpr double kNoStall = 1e9;  // times longer that a step may get, without a limit

std::int64_t blocks_of(const schedule::Request& request) {
  return cache::blocks_for(request.prompt_tokens + request.output_tokens);
}

Clock::duration duration_of(double seconds) {
  return std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(seconds));
}

// Blocks that the node's memory holds beside the weights.
std::int64_t affordable_blocks(const schedule::NodeProfile& profile) {
  constexpr double kMany = 1e15;
  const schedule::Variant& variant = profile.variants.front();
  const double bytes = variant.kv_bytes_per_token * static_cast<double>(kBlock);
  const double room = profile.memory_bytes - variant.weight_bytes;
  return static_cast<std::int64_t>(bytes > 0.0 ? std::clamp(room / bytes, 0.0, kMany) : kMany);
}

// Requests that the node can serve at all.
std::vector<std::size_t> servable(const schedule::NodeProfile& profile,
                                  std::span<const Arrival> arrivals) {
  const std::int64_t affordable = affordable_blocks(profile);
  std::vector<std::size_t> able;
  for (std::size_t i = 0; i < arrivals.size(); ++i) {
    const schedule::Request& request = arrivals[i].request;
    if (request.value > 0.0 && request.min_accuracy <= profile.variants.front().accuracy &&
        blocks_of(request) <= affordable) {
      able.push_back(i);
    }
  }
  return able;
}

class ServedNode {
 public:
  ServedNode(const Node& node,
             std::span<const Arrival> arrivals,
             std::vector<std::size_t> able,
             const PolicyOptions& options)
      : node_(node), arrivals_(arrivals), able_(std::move(able)), options_(options) {
    std::int64_t largest = 1;
    std::int64_t all = 0;
    std::int64_t cached = 0;
    engine::RunnerOptions runner = runner_options();
    for (const std::size_t i : able_) {
      const schedule::Request& request = arrivals_[i].request;
      largest = std::max(largest, blocks_of(request));
      all += blocks_of(request);
      cached += cache::blocks_for(request.cached_tokens);
    }
    runner.context = largest * kBlock;
    runner.max_sequences = std::min(node.profile.max_requests, std::ssize(able_));
    const std::int64_t at_once =
        runner.max_sequences < all / largest ? runner.max_sequences * largest : all;
    const std::int64_t blocks = std::min(affordable_blocks(node.profile), at_once + cached);
    runner_ = std::make_unique<engine::Runner>(
        std::make_unique<TimedModel>(cost(), runner.context,
                                     [this](double seconds) { now_ += duration_of(seconds); }),
        std::move(*cache::KvCache::create({{1, 1, 1}}, std::max(blocks, largest))), runner);
  }

  Result<Outcome> run() {
    learn();
    start_ = now_;
    std::size_t next = 0;
    while (next < able_.size() || !runner_->idle()) {
      if (runner_->idle()) {
        now_ = std::max(now_, arrival_time(able_[next]));
      }
      while (next < able_.size() && arrival_time(able_[next]) <= now_) {
        submit(able_[next++]);
      }
      runner_->step();
      if (failure_) {
        return tl::unexpected(*failure_);
      }
    }
    const engine::EngineStats& stats = runner_->stats();
    outcome_.offered = std::ssize(arrivals_);
    outcome_.late += stats.expired_running_total;
    outcome_.decisions = stats.selections_total;
    outcome_.cut_short = stats.selections_cut_total;
    return outcome_;
  }

 private:
  const schedule::StepCost& cost() const { return node_.profile.variants.front().step; }

  engine::RunnerOptions runner_options() {
    engine::RunnerOptions runner;
    runner.now = [this] { return now_; };
    runner.limits.tokens = std::max(runner.limits.tokens, cost().chunk_tokens);
    runner.limits.alone_seconds = cost().prompt_s(0, cost().chunk_tokens);
    runner.limits.stall = cost().least_stall > 0.0 ? cost().least_stall : kNoStall;
    runner.limits.most_stall = cost().most_stall > 0.0 ? cost().most_stall : kNoStall;
    if (options_.policy != Policy::kContinuous) {
      runner.scheduling = engine::Scheduling::kDeadline;
      runner.select = [this](const admission::Snapshot& snapshot) { return choose(snapshot); };
    }
    return runner;
  }

  // The server has been there for a while: it knows what steps cost, and the beginnings that are
  // said to be cached.
  void learn() {
    const auto step_while = [this](std::int64_t waiting) {
      while (!runner_->idle() && runner_->stats().waiting >= waiting) {
        runner_->step();
      }
    };
    for (std::size_t k = 0; k < kLearnedFrom; ++k) {
      const schedule::Request& request = arrivals_[able_[k % able_.size()]].request;
      runner_->add(sequence(arrivals_.size() + k, request.prompt_tokens, request.output_tokens));
      step_while(kLearnedTogether);
    }
    for (const std::size_t i : able_) {
      if (arrivals_[i].request.cached_tokens > 0) {
        runner_->add(sequence(i, arrivals_[i].request.cached_tokens, 1));
        step_while(kLearnedTogether);
      }
    }
    step_while(0);
  }

  Clock::time_point arrival_time(std::size_t i) const {
    return start_ + duration_of(arrivals_[i].time_s);
  }

  void submit(std::size_t i) {
    const schedule::Request& asked = arrivals_[i].request;
    auto its = sequence(i, asked.prompt_tokens, asked.output_tokens);
    its->value = asked.value;
    const Clock::time_point arrived = arrival_time(i);
    its->submitted = arrived;
    engine::Request& request = its->request;
    if (asked.deadline_s < kForever) {
      request.deadline = arrived + duration_of(asked.deadline_s);
    }
    if (asked.first_token_s < kForever) {
      request.first_token_deadline = arrived + duration_of(asked.first_token_s);
    }
    request.on_event = [this, i](const engine::Event& event) {
      if (event.finish) {
        count(i, *event.finish);
      }
      return engine::Reply::kGoOn;
    };
    runner_->add(std::move(its));
  }

  // The `i`-th one's tokens are like nobody else's, from the first on.
  std::unique_ptr<engine::Sequence> sequence(std::size_t i,
                                             std::int64_t prompt_tokens,
                                             std::int64_t output_tokens) {
    auto its = std::make_unique<engine::Sequence>();
    its->id = ++last_id_;
    its->submitted = now_;
    for (std::int64_t k = 0; k < prompt_tokens; ++k) {
      const std::uint64_t mixed = 2'654'435'761 * i + 40'503 * static_cast<std::uint64_t>(k);
      its->tokens.push_back(static_cast<TokenId>(mixed % (std::uint64_t{1} << 31)));
    }
    its->prompt_tokens = prompt_tokens;
    its->request.max_tokens = output_tokens;
    its->request.ignore_eos = true;
    its->request.on_event = [](const engine::Event&) { return engine::Reply::kGoOn; };
    sampling::SamplingParams greedy;
    greedy.temperature = 0.0F;
    its->sampler.emplace(greedy, its->tokens, nullptr);
    return its;
  }

  void count(std::size_t i, engine::FinishReason reason) {
    outcome_.end_s = std::chrono::duration<double>(now_ - start_).count();
    if (reason != engine::FinishReason::kLength) {
      return;
    }
    const schedule::Request& request = arrivals_[i].request;
    if (schedule::within(outcome_.end_s - arrivals_[i].time_s, request.deadline_s)) {
      ++outcome_.in_time;
      outcome_.value += request.value;
    } else {
      ++outcome_.late;
    }
  }

  admission::Selection choose(const admission::Snapshot& snapshot) {
    if (options_.policy == Policy::kOtGah) {
      return admission::select(snapshot, options_.search.max_nodes);
    }
    if (options_.policy == Policy::kBruteForce && snapshot.waiting.size() > kMostForBruteForce) {
      failure_ = too_many_for_brute_force(snapshot.waiting.size(),
                                          std::chrono::duration<double>(now_ - start_).count());
      return {};
    }
    OpenNode open{.profile = &node_.profile,
                  .accelerators = node_.accelerators,
                  .is_empty = snapshot.running.empty(),
                  .problem = {.candidates = {},
                              .cost = std::make_unique<admission::ServingCost>(
                                  snapshot.cost, snapshot.running, snapshot.prompt_share),
                              .capacity = snapshot.capacity}};
    for (const admission::Contender& contender : snapshot.waiting) {
      open.problem.candidates.push_back(contender.candidate);
      open.problem.candidates.back().request =
          static_cast<std::int32_t>(open.problem.candidates.size() - 1);
    }
    const Decision decision = decide({&open, 1}, options_);
    admission::Selection selection;
    selection.is_optimal = decision.is_exact;
    for (const std::int32_t c : decision.chosen.front()) {
      selection.admitted.push_back(snapshot.waiting[static_cast<std::size_t>(c)].id);
    }
    return selection;
  }

  const Node& node_;
  std::span<const Arrival> arrivals_;
  std::vector<std::size_t> able_;
  const PolicyOptions& options_;
  Clock::time_point now_{std::chrono::seconds(1)};
  Clock::time_point start_ = now_;
  std::unique_ptr<engine::Runner> runner_;
  RequestId last_id_ = 0;
  std::optional<Error> failure_;
  Outcome outcome_;
};

// Before anything is allocated.
Result<void> check_size(std::span<const Arrival> arrivals) {
  double tokens = 0.0;
  for (const Arrival& arrival : arrivals) {
    tokens += static_cast<double>(arrival.request.prompt_tokens);
    tokens += static_cast<double>(arrival.request.output_tokens);
  }
  if (!(tokens <= static_cast<double>(kMostTokens))) {
    return fail(ErrorCode::kInvalidArgument,
                "the requests have {:g} tokens; a server is simulated with at most {}", tokens,
                kMostTokens);
  }
  return {};
}

}  // namespace

bool is_one_server(std::span<const Node> nodes) {
  return nodes.size() == 1 && nodes[0].profile.flops_per_s == 0.0 &&
         nodes[0].profile.variants.size() == 1 && nodes[0].profile.variants[0].is_loaded &&
         !nodes[0].profile.radio && nodes[0].epoch_s == 0.0;
}

Result<Outcome> serve(const Node& node,
                      std::span<const Arrival> arrivals,
                      const PolicyOptions& options) {
  TRY_VOID(check_size(arrivals));
  std::vector<std::size_t> able = servable(node.profile, arrivals);
  if (able.empty()) {
    return Outcome{.offered = std::ssize(arrivals)};
  }
  return ServedNode(node, arrivals, std::move(able), options).run();
}

}  // namespace edgewise::simulate
