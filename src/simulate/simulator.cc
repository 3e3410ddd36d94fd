#include "simulate/simulator.h"

#include <algorithm>
#include <cmath>
#include <queue>
#include <tuple>

#include "simulate/running_batch.h"
#include "simulate/served_node.h"

namespace edgewise::simulate {
namespace {

struct Event {
  enum class Kind { kArrival, kStepEnd, kWake };

  double time_s = 0.0;
  Kind kind = Kind::kArrival;
  std::size_t index = 0;  // of the arrival or of the node

  bool operator>(const Event& other) const {
    return std::tie(time_s, kind, index) > std::tie(other.time_s, other.kind, other.index);
  }
};

class Simulation {
 public:
  Simulation(std::span<const Node> nodes,
             std::span<const Arrival> arrivals,
             const PolicyOptions& options)
      : arrivals_(arrivals), options_(options) {
    for (const Node& node : nodes) {
      states_.emplace_back(node);
    }
    outcome_.offered = std::ssize(arrivals);
    for (std::size_t i = 0; i < arrivals.size(); ++i) {
      events_.push({arrivals[i].time_s, Event::Kind::kArrival, i});
    }
  }

  Result<Outcome> run() {
    schedule_epochs();
    while (!events_.empty()) {
      const double now = events_.top().time_s;
      while (!events_.empty() && events_.top().time_s == now) {
        const Event event = events_.top();
        events_.pop();
        handle(event);
      }
      TRY_VOID(serve_waiting(now));
      start_steps(now);
      has_changed_ = false;
      for (State& state : states_) {
        state.is_epoch = false;
      }
    }
    return outcome_;
  }

 private:
  struct State {
    explicit State(const Node& its) : node(&its), batch(its.profile) {}

    bool is_counted() const { return node->profile.flops_per_s > 0.0; }

    const Node* node;
    double busy_until_s = 0.0;  // of a batch, or of a step
    bool is_epoch = false;      // now
    bool is_stepping = false;
    RunningBatch batch;
  };

  double deadline_of(std::size_t arrival) const {
    return arrivals_[arrival].time_s + arrivals_[arrival].request.deadline_s;
  }

  // Until everybody who waits has given up.
  void schedule_epochs() {
    double last = 0.0;
    for (std::size_t i = 0; i < arrivals_.size(); ++i) {
      const double deadline = deadline_of(i);
      last = std::max(last, std::isfinite(deadline) ? deadline : arrivals_[i].time_s + 1000.0);
    }
    for (std::size_t e = 0; e < states_.size(); ++e) {
      const double epoch = states_[e].node->epoch_s;
      for (std::int64_t k = 0; epoch > 0.0 && static_cast<double>(k) * epoch <= last; ++k) {
        events_.push({static_cast<double>(k) * epoch, Event::Kind::kWake, e});
      }
    }
  }

  void handle(const Event& event) {
    outcome_.end_s = event.time_s;
    if (event.kind == Event::Kind::kArrival) {
      waiting_.push_back(event.index);
      has_changed_ = true;
      return;
    }
    State& state = states_[event.index];
    if (event.kind == Event::Kind::kWake) {
      state.is_epoch = true;
      return;
    }
    state.is_stepping = false;
    for (const RunningBatch::Sequence& gone : state.batch.leave(event.time_s)) {
      count(gone.arrival, gone.is_done() ? event.time_s : schedule::kNever);
      has_changed_ = true;
    }
  }

  void count(std::size_t arrival, double end_s) {
    if (schedule::within(end_s, deadline_of(arrival))) {
      ++outcome_.in_time;
      outcome_.value += arrivals_[arrival].request.value;
    } else {
      ++outcome_.late;
    }
  }

  bool may_decide(const State& state, double now) const {
    if (!state.is_counted()) {
      return has_changed_;
    }
    return state.busy_until_s <= now && (state.node->epoch_s == 0.0 || state.is_epoch);
  }

  Result<void> serve_waiting(double now) {
    std::erase_if(waiting_, [&](std::size_t i) { return deadline_of(i) < now; });
    std::vector<std::size_t> open;
    for (std::size_t e = 0; e < states_.size(); ++e) {
      if (may_decide(states_[e], now)) {
        open.push_back(e);
      }
    }
    if (waiting_.empty() || open.empty()) {
      return {};
    }
    if (options_.policy == Policy::kBruteForce && waiting_.size() > kMostForBruteForce) {
      return tl::unexpected(too_many_for_brute_force(waiting_.size(), now));
    }
    std::vector<OpenNode> nodes;
    for (const std::size_t e : open) {
      nodes.push_back(open_node(e, now));
    }
    const Decision decision = decide(nodes, options_);
    ++outcome_.decisions;
    outcome_.cut_short += decision.is_exact ? 0 : 1;
    std::vector<bool> served(waiting_.size());
    for (std::size_t k = 0; k < open.size(); ++k) {
      for (const std::int32_t c : decision.chosen[k]) {
        served[static_cast<std::size_t>(
            nodes[k].problem.candidates[static_cast<std::size_t>(c)].request)] = true;
      }
      admit(states_[open[k]], open[k], nodes[k], decision.chosen[k], now);
    }
    std::size_t place = 0;
    std::erase_if(waiting_, [&](std::size_t) { return served[place++]; });
    return {};
  }

  OpenNode open_node(std::size_t e, double now) const {
    const State& state = states_[e];
    std::vector<schedule::Request> requests;
    std::vector<double> gains;
    for (const std::size_t i : waiting_) {
      requests.push_back(arrivals_[i].request);
      requests.back().deadline_s = deadline_of(i) - now;
      gains.push_back(arrivals_[i].gains[e]);
    }
    OpenNode open{.profile = &state.node->profile,
                  .accelerators = state.node->accelerators,
                  .is_empty = state.batch.is_empty(),
                  .problem = make_node_problem(state.node->profile, requests, gains,
                                               std::max(0.0, state.busy_until_s - now),
                                               state.batch.snapshot(now))};
    state.batch.charge(open.problem.capacity);
    return open;
  }

  void admit(State& state,
             std::size_t e,
             const OpenNode& open,
             std::span<const std::int32_t> chosen,
             double now) {
    if (!state.is_counted()) {
      for (const std::int32_t c : chosen) {
        const schedule::Candidate& its = open.problem.candidates[static_cast<std::size_t>(c)];
        const std::size_t arrival = waiting_[static_cast<std::size_t>(its.request)];
        state.batch.join({.arrival = arrival,
                          .variant = its.variant,
                          .prompt_tokens = its.prompt_tokens,
                          .computed_tokens = its.cached_tokens,
                          .output_tokens = its.output_tokens,
                          .deadline_s = deadline_of(arrival),
                          .memory_bytes = its.memory_bytes});
      }
      return;
    }
    const std::vector<double> ends = batch_finish_times(open, chosen, options_.policy);
    for (std::size_t k = 0; k < chosen.size(); ++k) {
      const auto at = static_cast<std::size_t>(chosen[k]);
      const std::size_t arrival =
          waiting_[static_cast<std::size_t>(open.problem.candidates[at].request)];
      count(arrival, now + ends[k]);
      state.busy_until_s = std::max(state.busy_until_s, now + ends[k]);
    }
    if (!chosen.empty()) {
      events_.push({state.busy_until_s, Event::Kind::kStepEnd, e});
    }
  }

  // Steps are long where requests were chosen for their deadlines, which all have; else the queue decides.
  std::optional<std::int64_t> queued() const {
    const bool by_deadline =
        options_.policy == Policy::kOtGah || options_.policy == Policy::kBruteForce;
    return by_deadline ? std::nullopt : std::optional<std::int64_t>(std::ssize(waiting_));
  }

  void start_steps(double now) {
    for (std::size_t e = 0; e < states_.size(); ++e) {
      State& state = states_[e];
      if (!state.is_counted() && !state.is_stepping && !state.batch.is_empty()) {
        state.busy_until_s = now + state.batch.step(queued());
        state.is_stepping = true;
        events_.push({state.busy_until_s, Event::Kind::kStepEnd, e});
      }
    }
  }

  std::span<const Arrival> arrivals_;
  const PolicyOptions& options_;
  std::vector<State> states_;
  std::priority_queue<Event, std::vector<Event>, std::greater<>> events_;
  std::vector<std::size_t> waiting_;  // arrivals, in order
  bool has_changed_ = false;          // someone came or left at this moment
  Outcome outcome_;
};

}  // namespace

Result<Outcome> simulate(std::span<const Node> nodes,
                         std::span<const Arrival> arrivals,
                         const PolicyOptions& options) {
  for (const Node& node : nodes) {
    if (options.policy == Policy::kContinuous && node.profile.flops_per_s > 0.0) {
      return fail(ErrorCode::kInvalidArgument,
                  "{} computes whole batches; continuous batching needs a node with measured steps",
                  node.profile.name);
    }
  }
  return is_one_server(nodes) ? serve(nodes.front(), arrivals, options)
                              : Simulation(nodes, arrivals, options).run();
}

}  // namespace edgewise::simulate
