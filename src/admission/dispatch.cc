#include "admission/dispatch.h"

#include <algorithm>

#include "schedule/assign.h"
#include "schedule/spread.h"

namespace edgewise::admission {
namespace {

using schedule::Candidate;
using schedule::NodeProblem;

constexpr int kBoundRounds = 5;
constexpr std::int64_t kMostMoves = 1000;

// Whoever waits in the engine came before: counted as if he had been let in.
std::vector<RunningView> everyone_in(const Snapshot& snapshot) {
  std::vector<RunningView> views = snapshot.running;
  const ServingCost cost(snapshot.cost, snapshot.running, snapshot.prompt_share);
  for (const Contender& contender : snapshot.waiting) {
    const Candidate& candidate = contender.candidate;
    RunningView view;
    view.sequence.context_tokens = candidate.prompt_tokens;
    view.sequence.remaining_prompt_tokens = candidate.prompt_tokens - candidate.cached_tokens;
    view.sequence.remaining_output_tokens = candidate.output_tokens;
    view.sequence.deadline_s = candidate.deadline_s;
    view.sequence.first_token_s = candidate.first_token_s;
    view.due_s = cost.due_s(candidate);
    views.push_back(view);
  }
  return views;
}

schedule::Capacity what_is_left(const Snapshot& snapshot) {
  schedule::Capacity capacity = snapshot.capacity;
  capacity.count = std::max<std::int64_t>(0, capacity.count - std::ssize(snapshot.waiting));
  for (const Contender& contender : snapshot.waiting) {
    capacity.memory_bytes -= contender.candidate.memory_bytes;
  }
  capacity.memory_bytes = std::max(0.0, capacity.memory_bytes);
  return capacity;
}

bool is_idle(const Load& load) {
  return load.snapshot.running.empty() && load.snapshot.waiting.empty();
}

class Dispatcher {
 public:
  Dispatcher(std::span<const Load* const> loads,
             std::span<const Applicant> applicants,
             Clock::time_point now)
      : loads_(loads),
        applicants_(applicants),
        late_s_(loads.size(), std::vector<double>(applicants.size(), schedule::kNever)),
        least_late_(applicants.size()) {
    for (std::size_t e = 0; e < loads.size(); ++e) {
      problems_.push_back(loads[e] == nullptr ? NodeProblem{} : problem_of(e, *loads[e], now));
    }
  }

  Dispatch run(const schedule::SearchLimits& limits) {
    Dispatch result;
    result.engine.assign(applicants_.size(), Dispatch::kWaits);
    std::vector<NodeProblem> known;
    std::vector<std::size_t> index;
    for (std::size_t e = 0; e < problems_.size(); ++e) {
      if (!problems_[e].candidates.empty()) {
        index.push_back(e);
        known.push_back(std::move(problems_[e]));
      }
    }
    const schedule::Assignment found =
        schedule::assign(known, {.search = limits, .bound_rounds = kBoundRounds});
    const auto chosen = schedule::spread(known, found.chosen, kMostMoves);
    for (std::size_t k = 0; k < known.size(); ++k) {
      for (const std::int32_t c : chosen[k]) {
        const Candidate& candidate = known[k].candidates[static_cast<std::size_t>(c)];
        result.engine[static_cast<std::size_t>(candidate.request)] =
            static_cast<std::int32_t>(index[k]);
      }
    }
    result.value = found.value;
    result.upper_bound = found.upper_bound;
    result.has_guarantee = found.has_guarantee;
    hold_back(known, index, result);
    let_try(result);
    send_hopeless(result);
    return result;
  }

 private:
  struct Lateness {
    std::int32_t engine = Dispatch::kWaits;
    double seconds = schedule::kNever;
  };

  NodeProblem problem_of(std::size_t e, const Load& load, Clock::time_point now) {
    const Snapshot& snapshot = load.snapshot;
    const ServingCost now_running(snapshot.cost, snapshot.running, snapshot.prompt_share);
    const bool has_nothing = is_idle(load);
    NodeProblem problem;
    problem.capacity = what_is_left(snapshot);
    for (std::size_t i = 0; i < applicants_.size(); ++i) {
      const Applicant& applicant = applicants_[i];
      if (!applicant.may_go[e]) {
        continue;
      }
      Prospect prospect = applicant.prospect;
      prospect.cached_tokens = applicant.cached_tokens.empty() ? 0 : applicant.cached_tokens[e];
      const double late = now_running.least_lateness_s(least_candidate_of(prospect, load, now));
      late_s_[e][i] = late;
      Lateness& least = least_late_[i];
      if (late < least.seconds || least.engine == Dispatch::kWaits) {
        least = {.engine = static_cast<std::int32_t>(e), .seconds = late};
      }
      // More answers than there are places wait inside an engine, so only where nobody is kept out by them.
      const bool has_places = has_nothing || applicant.sequences <= problem.capacity.count;
      if (late <= 0.0 && applicant.worth > 0.0 && has_places) {
        Candidate candidate = candidate_of(prospect, load, now);
        candidate.request = static_cast<std::int32_t>(i);
        candidate.value = applicant.worth;
        candidate.memory_bytes *= has_nothing ? 1.0 : static_cast<double>(applicant.sequences);
        problem.candidates.push_back(candidate);
      }
    }
    problem.cost =
        std::make_unique<ServingCost>(snapshot.cost, everyone_in(snapshot), snapshot.prompt_share);
    return problem;
  }

  // The search counts requests, places are for answers: the last that are too many wait on.
  void hold_back(const std::vector<NodeProblem>& known,
                 const std::vector<std::size_t>& index,
                 Dispatch& result) const {
    for (std::size_t k = 0; k < known.size(); ++k) {
      std::int64_t answers = 0;
      for (std::size_t i = 0; i < applicants_.size(); ++i) {
        if (result.engine[i] != static_cast<std::int32_t>(index[k])) {
          continue;
        }
        if (answers > 0 && answers + applicants_[i].sequences > known[k].capacity.count) {
          result.engine[i] = Dispatch::kWaits;
        } else {
          answers += applicants_[i].sequences;
        }
      }
    }
  }

  // Who is expected to be late, but may be lucky, costs nobody anything in an engine that has nothing to do.
  void let_try(Dispatch& result) const {
    for (std::size_t e = 0; e < loads_.size(); ++e) {
      const auto engine = static_cast<std::int32_t>(e);
      if (loads_[e] == nullptr || !is_idle(*loads_[e]) ||
          std::ranges::find(result.engine, engine) != result.engine.end()) {
        continue;
      }
      std::ptrdiff_t best = -1;
      for (std::size_t i = 0; i < applicants_.size(); ++i) {
        if (result.engine[i] == Dispatch::kWaits && applicants_[i].may_go[e] &&
            late_s_[e][i] <= 0.0 &&
            (best < 0 ||
             applicants_[i].worth > applicants_[static_cast<std::size_t>(best)].worth)) {
          best = static_cast<std::ptrdiff_t>(i);
        }
      }
      if (best >= 0) {
        result.engine[static_cast<std::size_t>(best)] = engine;
      }
    }
  }

  void send_hopeless(Dispatch& result) const {
    for (std::size_t i = 0; i < applicants_.size(); ++i) {
      if (least_late_[i].engine != Dispatch::kWaits && least_late_[i].seconds > 0.0) {
        result.engine[i] = least_late_[i].engine;
      }
    }
  }

  std::span<const Load* const> loads_;
  std::span<const Applicant> applicants_;
  std::vector<std::vector<double>> late_s_;  // [engine][applicant], at the least
  std::vector<NodeProblem> problems_;        // as the engines; without candidates where none may go
  std::vector<Lateness> least_late_;         // of each applicant, where it is least
};

}  // namespace

Dispatch dispatch(std::span<const Load* const> engines,
                  std::span<const Applicant> applicants,
                  Clock::time_point now,
                  const schedule::SearchLimits& limits) {
  return Dispatcher(engines, applicants, now).run(limits);
}

}  // namespace edgewise::admission
