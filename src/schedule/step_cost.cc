#include "schedule/step_cost.h"

#include <algorithm>
#include <numeric>

#include "base/check.h"

namespace edgewise::schedule {
namespace {

// A sequence in the phase in which everyone generates: `steps` steps, the k-th over `context` + k positions.
struct Generating {
  std::int32_t variant = 0;
  std::int64_t steps = 0;
  std::int64_t context = 0;
  std::size_t place = 0;  // where its end is to be written
};

Generating generating(const Candidate& candidate, std::size_t place) {
  // The first token comes out of the prompt's last step.
  return {.variant = candidate.variant,
          .steps = candidate.output_tokens - 1,
          .context = candidate.prompt_tokens,
          .place = place};
}

// 1 + 2 + ... + k
double triangle(std::int64_t k) {
  return static_cast<double>(k) * static_cast<double>(k + 1) / 2.0;
}

// Positions attended in the first `steps` steps of a sequence that takes `own` steps.
double positions(std::int64_t context, std::int64_t own, std::int64_t steps) {
  const std::int64_t k = std::min(own, steps);
  return static_cast<double>(k) * static_cast<double>(context) + triangle(k);
}

struct VariantLoad {
  std::int64_t rows = 0;
  std::int64_t context = 0;
};

// ends[place] = seconds until that sequence has taken its steps.
void generate_together(std::vector<Generating>& sequences,
                       const std::vector<StepCost>& costs,
                       std::vector<double>& ends) {
  std::sort(sequences.begin(), sequences.end(), [](const Generating& a, const Generating& b) {
    return a.steps != b.steps ? a.steps < b.steps : a.place < b.place;
  });
  std::vector<VariantLoad> loads(costs.size());
  for (const Generating& sequence : sequences) {
    VariantLoad& load = loads[static_cast<std::size_t>(sequence.variant)];
    ++load.rows;
    load.context += sequence.context;
  }
  double now = 0.0;
  std::int64_t done = 0;
  for (const Generating& sequence : sequences) {
    const std::int64_t steps = sequence.steps - done;
    if (steps > 0) {  // the same rows for `steps` steps, each one position longer than before
      for (std::size_t v = 0; v < loads.size(); ++v) {
        const auto rows = static_cast<double>(loads[v].rows);
        if (loads[v].rows > 0) {
          now += static_cast<double>(steps) *
                 costs[v].decode_s(rows, static_cast<double>(loads[v].context));
          now += costs[v].position_s * rows * (triangle(sequence.steps) - triangle(done));
        }
      }
      done = sequence.steps;
    }
    ends[sequence.place] = now;
    VariantLoad& load = loads[static_cast<std::size_t>(sequence.variant)];
    --load.rows;
    load.context -= sequence.context;
  }
}

}  // namespace

void StepLoad::read(std::int64_t from, std::int64_t count) {
  tokens += static_cast<double>(count);
  pairs += static_cast<double>(count) * static_cast<double>(from) + triangle(count);
}

double StepCost::prompt_s(std::int64_t from, std::int64_t to) const {
  const std::int64_t tokens = to - from;
  const double pairs = static_cast<double>(tokens) * static_cast<double>(from) + triangle(tokens);
  return static_cast<double>(chunks(tokens)) * launch_s +
         static_cast<double>(tokens) * prompt_token_s + pairs * prompt_pair_s;
}

std::vector<Finish> binding_deadlines(std::span<const RunningSequence> running,
                                      std::span<const Finish> times) {
  const auto if_met = [](double time, double deadline) {
    return within(time, deadline) ? deadline : kNever;
  };
  std::vector<Finish> deadlines;
  for (std::size_t i = 0; i < running.size(); ++i) {
    deadlines.push_back({.first_token_s = if_met(times[i].first_token_s, running[i].first_token_s),
                         .last_token_s = if_met(times[i].last_token_s, running[i].deadline_s)});
  }
  return deadlines;
}

StepCostModel::StepCostModel(std::vector<StepCost> variants,
                             std::vector<RunningSequence> running,
                             double start_s)
    : variants_(std::move(variants)),
      running_(std::move(running)),
      start_s_(start_s),
      running_prompts_s_(start_s) {
  for (const RunningSequence& sequence : running_) {
    running_prompts_s_ += running_prompt_seconds(sequence);
    if (sequence.remaining_output_tokens > 0) {
      const StepCost& own = cost(sequence.variant);
      rider_s_ += own.row_s + own.position_s * static_cast<double>(sequence.context_tokens);
    }
  }
  FinishTimes alone;
  finish_times({}, alone);
  running_deadlines_ = binding_deadlines(running_, alone.running);
  for (std::size_t i = 0; i < running_.size(); ++i) {
    patience_s_ =
        std::min(patience_s_, running_deadlines_[i].last_token_s - alone.running[i].last_token_s);
  }
}

double StepCostModel::running_prompt_seconds(const RunningSequence& sequence) const {
  return cost(sequence.variant)
      .prompt_s(sequence.context_tokens - sequence.remaining_prompt_tokens,
                sequence.context_tokens);
}

const StepCost& StepCostModel::cost(std::int32_t variant) const {
  const auto at = static_cast<std::size_t>(variant);
  CHECK(at < variants_.size(), "variant {} has no measured costs", variant);
  return variants_[at];
}

double StepCostModel::prompt_seconds(const Candidate& candidate) const {
  const StepCost& own = cost(candidate.variant);
  return own.prompt_s(candidate.cached_tokens, candidate.prompt_tokens) +
         rider_s_ *
             static_cast<double>(own.chunks(candidate.prompt_tokens - candidate.cached_tokens));
}

void StepCostModel::finish_times(std::span<const Candidate> set, FinishTimes& times) const {
  times.set.assign(set.size(), {});
  times.running.assign(running_.size(), {});

  std::vector<std::size_t> order(set.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::stable_sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) {
    return set[a].first_token_s < set[b].first_token_s;
  });
  double prompts = running_prompts_s_;
  for (const std::size_t i : order) {
    prompts += prompt_seconds(set[i]);
    times.set[i].first_token_s = prompts;
  }

  std::vector<Generating> sequences;
  sequences.reserve(set.size() + running_.size());
  for (std::size_t i = 0; i < set.size(); ++i) {
    sequences.push_back(generating(set[i], i));
  }
  for (std::size_t i = 0; i < running_.size(); ++i) {
    sequences.push_back({.variant = running_[i].variant,
                         .steps = running_[i].remaining_output_tokens,
                         .context = running_[i].context_tokens,
                         .place = set.size() + i});
  }
  std::vector<double> ends(sequences.size());
  generate_together(sequences, variants_, ends);
  for (std::size_t i = 0; i < set.size(); ++i) {
    times.set[i].last_token_s = prompts + ends[i];
  }
  double read = start_s_;
  for (std::size_t i = 0; i < running_.size(); ++i) {
    read += running_prompt_seconds(running_[i]);
    times.running[i] = {.first_token_s = read, .last_token_s = prompts + ends[set.size() + i]};
  }
}

// The pivot generates for `steps` steps. In that time every prompt is computed and each member takes part in as many
// steps as it has; each step costs at least its start and either the weights (row 0) or all its rows (row 1).
// Row 2: the prompts alone may not exhaust the patience of the running.
CostModel::TimeRow StepCostModel::time_needs(const Candidate& pivot,
                                             const Candidate& member) const {
  const StepCost& own = cost(member.variant);
  const std::int64_t steps = pivot.output_tokens - 1;
  const double prompt = prompt_seconds(member);
  const double attention =
      own.position_s * positions(member.prompt_tokens, member.output_tokens - 1, steps);
  const double rows = own.row_s * static_cast<double>(std::min(member.output_tokens - 1, steps));
  return {prompt + attention, prompt + attention + rows, prompt};
}

CostModel::TimeRow StepCostModel::time_capacity(const Candidate& pivot) const {
  const StepCost& own = cost(pivot.variant);
  const std::int64_t steps = pivot.output_tokens - 1;
  double left = pivot.deadline_s - running_prompts_s_ - static_cast<double>(steps) * own.launch_s;
  double rows = 0.0;
  for (const RunningSequence& sequence : running_) {
    const StepCost& its = cost(sequence.variant);
    left -= its.position_s *
            positions(sequence.context_tokens, sequence.remaining_output_tokens, steps);
    rows += its.row_s * static_cast<double>(std::min(sequence.remaining_output_tokens, steps));
  }
  const double weights = static_cast<double>(steps) * std::max(own.weights_s, own.row_s);
  return {left - weights, left - rows, patience_s_};
}

bool StepCostModel::no_slower(const Candidate& a, const Candidate& b) const {
  return a.variant == b.variant && a.deadline_s >= b.deadline_s &&
         a.first_token_s >= b.first_token_s && a.prompt_tokens <= b.prompt_tokens &&
         a.output_tokens <= b.output_tokens && prompt_seconds(a) <= prompt_seconds(b) &&
         a.prompt_tokens - a.cached_tokens <= b.prompt_tokens - b.cached_tokens;
}

}  // namespace edgewise::schedule
