// Test only: streams of requests to a runner on a virtual clock.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "engine/runner.h"
#include "model/toy_model.h"
#include "schedule/test_random.h"

namespace edgewise::engine {

struct Arrival {
  double at = 0.0;
  std::int64_t prompt_tokens = 10;
  std::int64_t answer_tokens = 10;
  double deadline = 0.0;  // seconds after `at`; 0: none
  double first_token_deadline = 0.0;
  std::string tenant = {};
  int priority = 0;
  double share = 1.0;
  TokenId flavour = 1;  // equal ones have equal prompts
  double cancel_after = 0.0;
  Delivery delivery = {};
};

struct Outcome {
  double first = 0.0, end = 0.0;
  std::int64_t tokens = 0;
  std::optional<FinishReason> finish;
  std::optional<ErrorCode> error;
  std::string message;  // of the error
  double retry_after = 0.0;

  bool complete() const { return finish == FinishReason::kLength; }
};

struct TimedSettings {
  Scheduling scheduling = Scheduling::kDeadline;
  std::int64_t sequences = 8;
  std::int64_t blocks = 200;
  platform::Turn::Outlook machine = {};
  std::shared_ptr<admission::Link> link = nullptr;
  bool selects_beside = false;
  std::function<void(double seconds)> before_step = [](double) {};
};

// A machine that takes 10 ms for a step, 0.5 ms more for each row, and a stream of requests to it.
class TimedServer {
 public:
  TimedServer(const TimedSettings& settings, std::vector<Arrival> asks)
      : asks_(std::move(asks)),
        answers_(asks_.size()),
        sequences_(settings.sequences),
        before_step_(settings.before_step) {
    RunnerOptions options;
    options.context = 1024;
    options.max_sequences = settings.sequences;
    options.limits.tokens = 256;
    options.scheduling = settings.scheduling;
    options.now = [this] { return now_; };
    options.machine = [machine = settings.machine] { return machine; };
    options.link = settings.link;
    options.selects_beside = settings.selects_beside;
    model::ToyOptions toy;
    toy.on_forward = [this](std::int64_t tokens) {
      longest_late_step_ = std::max(longest_late_step_, seconds() < 5.0 ? 0 : tokens);
      now_ += std::chrono::microseconds(10'000 + 500 * tokens);
    };
    runner_ = std::make_unique<Runner>(
        std::make_unique<model::ToyModel>(toy),
        std::move(*cache::KvCache::create({{1, 1, 1}}, settings.blocks)), options);
    std::stable_sort(asks_.begin(), asks_.end(),
                     [](const Arrival& a, const Arrival& b) { return a.at < b.at; });
  }

  void run() {
    std::size_t next = 0;
    while (next < asks_.size() || !runner_->idle()) {
      if (runner_->idle() && seconds() < asks_[next].at) {
        now_ = time_at(asks_[next].at);
      }
      while (next < asks_.size() && asks_[next].at <= seconds()) {
        submit(next++);
      }
      for (std::size_t i = 0; i < next; ++i) {
        if (asks_[i].cancel_after > 0.0 && !answers_[i].finish &&
            seconds() > asks_[i].at + asks_[i].cancel_after) {
          runner_->cancel(i + 1);
        }
      }
      if (!runner_->idle()) {
        before_step_(seconds());
        runner_->step();
        now_ += std::chrono::milliseconds(runner_->is_held_back() ? 20 : 0);
        EXPECT_LE(runner_->stats().running, sequences_);
        most_running_ = std::max(most_running_, runner_->stats().running);
      }
    }
    runner_->prefixes().clear();
    EXPECT_EQ(runner_->cache().free_blocks(), runner_->cache().capacity());
  }

  const std::vector<Arrival>& asks() const { return asks_; }

  const std::vector<Outcome>& answers() const { return answers_; }

  const EngineStats& stats() { return runner_->stats(); }

  std::int64_t complete() const {
    return std::count_if(answers_.begin(), answers_.end(),
                         [](const Outcome& answer) { return answer.complete(); });
  }

  std::int64_t most_running() const { return most_running_; }

  // Runner::next_end() in seconds; nobody runs: 0.
  double next_end() const {
    const auto end = runner_->next_end();
    return end ? std::chrono::duration<double>(end->time_since_epoch()).count() : 0.0;
  }

  std::int64_t longest_late_step() const { return longest_late_step_; }

 private:
  double seconds() const { return std::chrono::duration<double>(now_.time_since_epoch()).count(); }

  static Clock::time_point time_at(double seconds) {
    return Clock::time_point() +
           std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(seconds)) +
           std::chrono::nanoseconds(1);
  }

  void submit(std::size_t i) {
    const Arrival& ask = asks_[i];
    auto sequence = std::make_unique<Sequence>();
    sequence->id = i + 1;
    sequence->submitted = time_at(ask.at);
    for (std::int64_t k = 0; k < ask.prompt_tokens; ++k) {
      sequence->tokens.push_back(static_cast<TokenId>(1 + (k * ask.flavour + k / 39) % 39));
    }
    sequence->prompt_tokens = ask.prompt_tokens;
    Request& request = sequence->request;
    request.max_tokens = ask.answer_tokens;
    request.ignore_eos = true;
    request.tenant = ask.tenant;
    request.priority = ask.priority;
    request.share = ask.share;
    request.delivery = ask.delivery;
    if (ask.deadline > 0.0) {
      request.deadline = time_at(ask.at + ask.deadline);
    }
    if (ask.first_token_deadline > 0.0) {
      request.first_token_deadline = time_at(ask.at + ask.first_token_deadline);
    }
    request.on_event = [this, &answer = answers_[i], ask](Event event) {
      if (event.draw) {
        answer.first = answer.tokens++ == 0 ? seconds() : answer.first;
        // No token comes after its deadline.
        EXPECT_TRUE(ask.deadline == 0.0 || seconds() <= ask.at + ask.deadline + 0.5);
      }
      if (event.finish) {
        EXPECT_FALSE(answer.finish.has_value());
        answer.finish = event.finish;
        answer.end = seconds();
        if (event.error) {
          answer.error = event.error->code;
          answer.message = event.error->message;
          answer.retry_after = event.error->retry_after_s;
        }
      }
      return Reply::kGoOn;
    };
    sampling::SamplingParams params;
    params.seed = i;
    sequence->sampler.emplace(params, sequence->tokens, nullptr);
    runner_->add(std::move(sequence));
  }

  std::vector<Arrival> asks_;
  std::vector<Outcome> answers_;
  std::int64_t sequences_;
  std::function<void(double)> before_step_;
  std::int64_t longest_late_step_ = 0;  // tokens, after 5 s
  std::int64_t most_running_ = 0;
  Clock::time_point now_{};
  std::unique_ptr<Runner> runner_;
};

class ArrivalMaker : public schedule::TestRandom {
 public:
  using TestRandom::TestRandom;

  // Poisson arrivals; a deadline is 1.5 to 6 times what the request takes alone.
  std::vector<Arrival> stream(double per_second, double seconds) {
    std::vector<Arrival> asks;
    for (double at = exponential(per_second); at < seconds; at += exponential(per_second)) {
      Arrival ask;
      ask.at = at;
      ask.prompt_tokens = integer(10, 300);
      ask.answer_tokens = integer(5, 100);
      ask.flavour = static_cast<TokenId>(integer(1, 1000));
      const double alone = 0.0105 * static_cast<double>(ask.answer_tokens) + 0.01 +
                           0.0005 * static_cast<double>(ask.prompt_tokens);
      ask.deadline = real(1.5, 6.0) * alone;
      asks.push_back(ask);
    }
    return asks;
  }
};

}  // namespace edgewise::engine
