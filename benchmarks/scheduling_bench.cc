// The scheduler without a model: requests with deadlines come in at random, and a step takes as long
// as StepCosts says. On a virtual clock it counts who was served in time, so that a rule can be
// judged over many seeds in seconds; in real time, where a step sleeps, it measures how much of the
// engine thread goes into deciding, memory and bookkeeping.
#include <fmt/core.h>
#include <time.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cmath>
#include <random>
#include <thread>

#include "cache/kv_cache.h"
#include "engine/runner.h"

namespace edgewise {
namespace {

using engine::Clock;

struct Machine {  // seconds
  double step, row, logits, position;
  double alone_prefill, alone_decode;  // tokens a second, from which deadlines are made
};

// Measured on two Zen 4 cores.
constexpr Machine kSmall = {2.9e-3, 0.53e-3, 0.05e-3, 0.15e-6, 1200, 190};  // SmolLM2 135M
constexpr Machine kLarge = {20e-3, 5.0e-3, 0.2e-3, 0.4e-6, 150, 30};        // Qwen2.5 1.5B

struct Options {
  bool large = false;
  bool real_time = false;
  bool first_come = false;
  double load = 1.2;  // requests a second, by what the machine could do
  std::int64_t requests = 600;
  std::int64_t backlog = 0;  // waiting, without deadlines, from the start
  std::int64_t clients = 0;  // asking without deadlines, again as soon as they are answered
  std::uint64_t seed = 1;
  std::int64_t blocks = 4096;
  double noise = 0.1;
};

double thread_seconds() {
  timespec now = {};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) + 1e-9 * static_cast<double>(now.tv_nsec);
}

Clock::duration duration_of(double seconds) {
  return std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(seconds));
}

// Draws from the same few logits, after the time that a real one would take.
class IdleModel : public model::Model {
 public:
  IdleModel(const Options& options, Clock::time_point& virtual_now)
      : options_(options),
        machine_(options.large ? kLarge : kSmall),
        virtual_now_(virtual_now),
        random_(options.seed) {
    spec_.architecture = "idle";
    spec_.vocab = 16;
    spec_.context = 8192;
    spec_.layers.resize(1);
  }

  const model::ModelSpec& spec() const override { return spec_; }

  std::vector<cache::KvLayerShape> kv_shapes() const override { return {{1, 1, 1}}; }

  std::int64_t weight_bytes() const override { return 0; }

  std::int64_t weight_bytes_per_token() const override { return 0; }

  std::int64_t macs_per_token() const override { return 0; }

  void copy_positions(const model::PositionCopy&, cache::KvCache&) override {}

  model::StepResult forward(const model::StepPlan& plan, cache::KvCache&) override {
    const double begin = thread_seconds();
    steps::StepShape shape;
    for (const model::Segment& segment : plan.segments) {
      shape.add(std::ssize(segment.tokens), segment.first_position,
                segment.want != model::Want::kNothing);
    }
    logits_.assign(static_cast<std::size_t>(16 * shape.logits), 0.0F);
    rows_.clear();
    for (std::int64_t row = 0; row < shape.logits; ++row) {
      rows_.push_back(std::span(logits_).subspan(static_cast<std::size_t>(16 * row), 16));
    }
    const double seconds = (machine_.step + machine_.row * static_cast<double>(shape.rows) +
                            machine_.logits * static_cast<double>(shape.logits) +
                            machine_.position * static_cast<double>(shape.positions)) *
                           std::exp(options_.noise * std::normal_distribution<double>()(random_));
    if (options_.real_time) {
      std::this_thread::sleep_for(duration_of(seconds));
    } else {
      virtual_now_ += duration_of(seconds);
    }
    step_seconds += seconds;
    thread_seconds_inside += thread_seconds() - begin;
    return {rows_};
  }

  double step_seconds = 0.0;
  double thread_seconds_inside = 0.0;

 private:
  const Options& options_;
  const Machine machine_;
  Clock::time_point& virtual_now_;
  std::mt19937_64 random_;
  model::ModelSpec spec_;
  std::vector<float> logits_;
  std::vector<std::span<float>> rows_;  // of logits_
};

struct Ask {
  double at = 0.0;
  std::int64_t prompt = 0, answer = 0;
  double deadline = 0.0;  // seconds after `at`
};

class Trace {
 public:
  explicit Trace(const Options& options) : random_(options.seed) {
    const Machine& machine = options.large ? kLarge : kSmall;
    // 340 prompt and 107 answer tokens of a mean request, eight together.
    const double request_seconds = 340 * machine.row + 107 * (machine.row + machine.step / 8);
    const double shrink = options.large ? 0.25 : 1.0;
    double at = 0.0;
    for (std::int64_t i = 0; i < options.requests; ++i) {
      Ask ask;
      at += std::exponential_distribution<double>(options.load / request_seconds / shrink)(random_);
      ask.at = at;
      ask.prompt = static_cast<std::int64_t>(shrink * log_uniform(64, 1024));
      ask.answer = static_cast<std::int64_t>(shrink * log_uniform(32, 256));
      ask.deadline =
          log_uniform(1.5, 6) * (static_cast<double>(ask.prompt) / machine.alone_prefill +
                                 static_cast<double>(ask.answer) / machine.alone_decode);
      asks.push_back(ask);
    }
  }

  std::vector<Ask> asks;

 private:
  double log_uniform(double low, double high) {
    return low * std::pow(high / low, std::uniform_real_distribution<double>()(random_));
  }

  std::mt19937_64 random_;
};

std::unique_ptr<engine::Sequence> make_sequence(RequestId id,
                                                std::int64_t prompt,
                                                std::int64_t answer,
                                                Clock::time_point at) {
  constexpr std::int64_t kTemplate = 24;  // tokens that every chat begins with
  auto sequence = std::make_unique<engine::Sequence>();
  sequence->id = id;
  sequence->submitted = at;
  std::mt19937 random(static_cast<std::uint32_t>(id));
  for (std::int64_t i = 0; i < prompt; ++i) {
    sequence->tokens.push_back(i < kTemplate ? static_cast<TokenId>(i)
                                             : static_cast<TokenId>(random() % 49'152));
  }
  sequence->prompt_tokens = prompt;
  sequence->request.max_tokens = answer;
  sequence->request.ignore_eos = true;
  sampling::SamplingParams greedy;
  greedy.temperature = 0.0F;
  sequence->sampler.emplace(greedy, sequence->tokens, nullptr);
  return sequence;
}

struct Outcome {
  std::int64_t in_time = 0, refused = 0, late = 0;
};

class Run {
 public:
  explicit Run(const Options& options) : options_(options), trace_(options) {
    auto model = std::make_unique<IdleModel>(options, virtual_now_);
    model_ = model.get();
    engine::RunnerOptions runner;
    runner.context = 4096;
    runner.max_sequences = 32;
    runner.scheduling = options.first_come ? engine::Scheduling::kFirstComeFirstServed
                                           : engine::Scheduling::kDeadline;
    runner.selects_beside = options.real_time;
    if (!options.real_time) {
      runner.now = [this] { return virtual_now_; };
    }
    runner_ = std::make_unique<engine::Runner>(
        std::move(model), std::move(*cache::KvCache::create({{1, 1, 1}}, options.blocks)), runner);
  }

  // A closed loop, once through the trace.
  void go_round() {
    std::size_t next = 0;
    std::int64_t tokens = 0;
    std::vector<double> gaps;
    std::vector<double> first;
    const auto ask = [&] {
      const Ask& asked = trace_.asks[next++];
      auto sequence = make_sequence(next_id_++, asked.prompt, asked.answer, now());
      tokens += asked.answer;
      sequence->request.on_event = [&, asked_at = now(), last = std::optional<Clock::time_point>()](
                                       const engine::Event& event) mutable {
        if (event.draw) {
          (last ? gaps : first).push_back(seconds_from(last.value_or(asked_at)));
          last = now();
        }
        missing_ += event.finish ? 1 : 0;
        return engine::Reply::kGoOn;
      };
      runner_->add(std::move(sequence));
    };
    missing_ = options_.clients;
    const Clock::time_point start = now();
    while (next < trace_.asks.size() || !runner_->idle()) {
      for (; missing_ > 0 && next < trace_.asks.size(); --missing_) {
        ask();
      }
      runner_->step();
    }
    const auto quantile = [](std::vector<double>& values, double share) {
      std::sort(values.begin(), values.end());
      return 1e3 * values[static_cast<std::size_t>(share * static_cast<double>(values.size() - 1))];
    };
    fmt::print(
        "{} clients: {:.0f} tokens/s; gaps p50 {:.1f} ms, p99 {:.1f} ms; first token p50 {:.0f} "
        "ms, p99 {:.0f} ms\n",
        options_.clients, static_cast<double>(tokens) / seconds_from(start), quantile(gaps, 0.5),
        quantile(gaps, 0.99), quantile(first, 0.5), quantile(first, 0.99));
  }

  Outcome go() {
    for (std::int64_t i = 0; i < options_.backlog; ++i) {
      add(make_sequence(next_id_++, 300, 64, now()), nullptr);
    }
    const double begin = thread_seconds();
    const Clock::time_point start = now();
    const auto seconds = [&] { return std::chrono::duration<double>(now() - start).count(); };
    std::size_t next = 0;
    std::int64_t steps = 0;
    while (next < trace_.asks.size() || !runner_->idle()) {
      if (runner_->idle() && seconds() < trace_.asks[next].at) {
        wait_until(start + duration_of(trace_.asks[next].at) + std::chrono::nanoseconds(1));
      }
      while (next < trace_.asks.size() && trace_.asks[next].at <= seconds()) {
        const Ask& ask = trace_.asks[next++];
        const double preparing = thread_seconds();
        const Clock::time_point at = start + duration_of(ask.at);
        auto sequence = make_sequence(next_id_++, ask.prompt, ask.answer, at);
        sequence->request.deadline = at + duration_of(ask.deadline);
        preparation_ += thread_seconds() - preparing;
        add(std::move(sequence), &ask);
      }
      if (!runner_->idle()) {
        most_waiting_ = std::max(most_waiting_, runner_->stats().waiting);
        runner_->step();
        ++steps;
      }
    }
    const double engine = thread_seconds() - begin - model_->thread_seconds_inside - preparation_;
    fmt::print(
        "{} steps of {:.2f} ms; at most {} waiting; engine thread beside the model {:.2f} us a "
        "step, "
        "{:.3f} % of the step's time\n",
        steps, 1e3 * model_->step_seconds / static_cast<double>(steps), most_waiting_,
        1e6 * engine / static_cast<double>(steps), 100 * engine / model_->step_seconds);
    return outcome_;
  }

 private:
  Clock::time_point now() const { return options_.real_time ? Clock::now() : virtual_now_; }

  double seconds_from(Clock::time_point begin) const {
    return std::chrono::duration<double>(now() - begin).count();
  }

  void wait_until(Clock::time_point time) {
    if (options_.real_time) {
      std::this_thread::sleep_until(time);
    } else {
      virtual_now_ = time;
    }
  }

  void add(std::unique_ptr<engine::Sequence> sequence, const Ask* ask) {
    const auto deadline = sequence->request.deadline;
    sequence->request.on_event = [this, ask, deadline](const engine::Event& event) {
      if (ask != nullptr && event.finish) {
        const bool is_done = event.finish == engine::FinishReason::kLength;
        outcome_.in_time += is_done && now() <= *deadline ? 1 : 0;
        outcome_.refused +=
            event.error && event.error->code == ErrorCode::kDeadlineUnreachable ? 1 : 0;
        outcome_.late += event.error && event.error->code == ErrorCode::kDeadlineExceeded ? 1 : 0;
      }
      return engine::Reply::kGoOn;
    };
    runner_->add(std::move(sequence));
  }

  const Options& options_;
  Trace trace_;
  Clock::time_point virtual_now_{std::chrono::seconds(1)};
  IdleModel* model_ = nullptr;
  std::unique_ptr<engine::Runner> runner_;
  RequestId next_id_ = 1;
  std::int64_t most_waiting_ = 0;
  std::int64_t missing_ = 0;  // of the clients' requests
  double preparation_ = 0.0;
  Outcome outcome_;
};

int run(int argc, char** argv) {
  Options options;
  std::int64_t seeds = 1;
  CLI::App app("The scheduler over a model that only takes time");
  app.add_flag("--large", options.large,
               "Steps of a 1.5B model instead of a 135M one, lengths a quarter");
  app.add_flag("--real-time", options.real_time, "Steps sleep; else a virtual clock");
  app.add_flag("--fcfs", options.first_come, "First come, first served");
  app.add_option("--load", options.load, "Offered, by what the machine could do");
  app.add_option("--requests", options.requests);
  app.add_option("--backlog", options.backlog,
                 "Requests without deadline that wait from the start");
  app.add_option("--clients", options.clients,
                 "Instead: so many ask, without deadlines, again as soon as they are answered");
  app.add_option("--seed", options.seed, "Of the first run");
  app.add_option("--seeds", seeds, "Runs");
  app.add_option("--blocks", options.blocks, "Of the cache");
  app.add_option("--noise", options.noise, "Of a step's time, as a share of it");
  CLI11_PARSE(app, argc, argv);
  Outcome sum;
  for (std::int64_t i = 0; i < seeds; ++i, ++options.seed) {
    if (options.clients > 0) {
      Run(options).go_round();
      continue;
    }
    const Outcome outcome = Run(options).go();
    fmt::print("seed {}: of {} in time {}, refused {}, begun and late {}\n", options.seed,
               options.requests, outcome.in_time, outcome.refused, outcome.late);
    sum.in_time += outcome.in_time;
  }
  if (options.clients == 0) {
    fmt::print("in time {:.2f} %\n", 100 * static_cast<double>(sum.in_time) /
                                         static_cast<double>(seeds * options.requests));
  }
  return 0;
}

}  // namespace
}  // namespace edgewise

int main(int argc, char** argv) {
  return edgewise::run(argc, argv);
}
