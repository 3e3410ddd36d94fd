#include "admission/forecast.h"

#include <algorithm>

namespace edgewise::admission {
namespace {

using schedule::Candidate;
using schedule::FinishTimes;
using schedule::kNever;

double seconds_until(const std::optional<Clock::time_point>& time, Clock::time_point now) {
  return time.has_value() ? std::chrono::duration<double>(*time - now).count() : kNever;
}

// Until everybody is done.
double busy_seconds(const schedule::CostModel& cost, std::span<const Candidate> set) {
  FinishTimes times;
  cost.finish_times(set, times);
  double end = 0.0;
  for (const schedule::Finish& finish : times.set) {
    end = std::max(end, finish.last_token_s);
  }
  for (const schedule::Finish& finish : times.running) {
    end = std::max(end, finish.last_token_s);
  }
  return end;
}

// `answer`: of one that ends by itself.
Candidate with_answer(std::int64_t answer,
                      const Prospect& prospect,
                      const Load& load,
                      Clock::time_point now) {
  const std::int64_t room = std::max<std::int64_t>(1, load.context - prospect.prompt_tokens);
  const std::int64_t most =
      prospect.max_tokens >= 0 ? std::clamp<std::int64_t>(prospect.max_tokens, 1, room) : room;
  Candidate candidate;
  candidate.prompt_tokens = prospect.prompt_tokens;
  candidate.cached_tokens = std::min(prospect.cached_tokens, prospect.prompt_tokens - 1);
  candidate.output_tokens =
      prospect.ignore_eos ? most : std::max(prospect.min_tokens, std::min(most, answer));
  candidate.output_tokens = std::max<std::int64_t>(1, candidate.output_tokens);
  candidate.memory_bytes = static_cast<double>(
      (candidate.prompt_tokens + candidate.output_tokens + load.block_tokens - 1) /
      load.block_tokens);
  candidate.deadline_s = seconds_until(prospect.deadline, now);
  candidate.first_token_s = seconds_until(prospect.first_token_deadline, now);
  return candidate;
}

}  // namespace

Candidate candidate_of(const Prospect& prospect, const Load& load, Clock::time_point now) {
  return with_answer(load.usual_answer, prospect, load, now);
}

Candidate least_candidate_of(const Prospect& prospect, const Load& load, Clock::time_point now) {
  return with_answer(load.least_answer, prospect, load, now);
}

bool may_be_in_time(const Load& load, const Prospect& prospect, Clock::time_point now) {
  const Snapshot& snapshot = load.snapshot;
  return ServingCost(snapshot.cost, snapshot.running, snapshot.prompt_share)
             .least_lateness_s(least_candidate_of(prospect, load, now)) <= 0.0;
}

Forecast forecast(const Load& load, const Prospect& prospect, Clock::time_point now) {
  std::vector<Candidate> set;
  for (const Contender& contender : load.snapshot.waiting) {
    set.push_back(contender.candidate);
  }
  std::vector<schedule::RunningSequence> running;
  for (const RunningView& view : load.snapshot.running) {
    running.push_back(view.sequence);
  }
  const schedule::StepCostModel plain({load.plain}, std::move(running));
  const double before = busy_seconds(plain, set);
  const Candidate candidate = candidate_of(prospect, load, now);
  set.push_back(candidate);

  Forecast result;
  result.machine_s = busy_seconds(plain, set) - before;
  const ServingCost cost(load.snapshot.cost, load.snapshot.running, load.snapshot.prompt_share);
  FinishTimes times;
  cost.finish_times(set, times);
  const schedule::Finish& finish = times.set.back();
  result.finish_s = finish.last_token_s;
  result.late_s = std::max(finish.last_token_s - candidate.deadline_s,
                           finish.first_token_s - candidate.first_token_s);
  return result;
}

}  // namespace edgewise::admission
