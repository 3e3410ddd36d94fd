#include "admission/selection.h"

#include <algorithm>

#include "admission/serving_cost.h"
#include "schedule/select_batch.h"

namespace edgewise::admission {
namespace {

using schedule::Candidate;

// The one that is worth most, which age makes anyone in the end, when he has waited too long.
const Contender* first_in_line(const std::vector<Contender>& contenders) {
  const auto most = std::max_element(
      contenders.begin(), contenders.end(),
      [](const auto& a, const auto& b) { return a.candidate.value < b.candidate.value; });
  return most != contenders.end() && most->overdue ? &*most : nullptr;
}

// How much too late the link would have sent it, if it came first of all but those who have to be done before it.
double lateness_on_link_s(const Contender& contender, const std::vector<RunningView>& running) {
  if (contender.least_send_s <= 0.0) {
    return 0.0;
  }
  double seconds = contender.least_send_s;
  for (const RunningView& view : running) {
    seconds += view.send_by_s <= contender.send_by_s ? view.send_s : 0.0;
  }
  return seconds - contender.send_by_s;
}

}  // namespace

Selection select(const Snapshot& snapshot,
                 std::int64_t max_nodes,
                 const std::function<bool()>& out_of_time) {
  const ServingCost cost(snapshot.cost, snapshot.running, snapshot.prompt_share);
  Selection result;
  result.is_alone = snapshot.running.empty();
  std::vector<Contender> contenders;
  for (const Contender& contender : snapshot.waiting) {
    Candidate least = contender.candidate;
    least.output_tokens = contender.least_output_tokens;
    least.deadline_s += contender.tail_s - contender.least_tail_s;
    const double late = cost.least_lateness_s(least);
    const double late_on_link = lateness_on_link_s(contender, snapshot.running);
    if (late > 0.0 || late_on_link > 0.0) {
      const bool by_link = late_on_link > late || late <= contender.least_tail_s;
      result.hopeless.push_back({contender.id, std::max(late, late_on_link), by_link});
    } else {
      contenders.push_back(contender);
    }
  }
  if (const Contender* first = first_in_line(contenders)) {
    if (fits({&first->candidate, 1}, snapshot.capacity)) {
      result.admitted.push_back(first->id);
    }
    return result;
  }
  std::stable_sort(contenders.begin(), contenders.end(),
                   [&](const Contender& a, const Contender& b) {
                     return cost.due_s(a.candidate) < cost.due_s(b.candidate);
                   });
  std::vector<Candidate> candidates;
  for (Contender& contender : contenders) {
    contender.candidate.request = static_cast<std::int32_t>(candidates.size());
    candidates.push_back(contender.candidate);
  }
  const schedule::Selection found = select_batch(
      candidates, cost, snapshot.capacity, {.max_nodes = max_nodes, .out_of_time = out_of_time});
  for (const std::int32_t i : found.chosen) {
    result.admitted.push_back(contenders[static_cast<std::size_t>(i)].id);
  }
  result.is_optimal = found.is_optimal;
  result.value = found.value;
  result.upper_bound = found.upper_bound;
  return result;
}

schedule::StepCost planning_cost(const steps::StepCost& cost,
                                 std::int64_t chunk_tokens,
                                 double caution) {
  constexpr std::int64_t kRows = 32;  // generating at once; the cost between is a straight line
  constexpr std::int64_t kPositions = 4096;
  const double one = cost.seconds({1, 1, 0});
  const double many = cost.seconds({kRows, kRows, 0});
  const double chunk = cost.seconds({chunk_tokens, 1, 0});
  const double far = cost.seconds({1, 1, kPositions});
  schedule::StepCost result;
  result.row_s = caution * (many - one) / static_cast<double>(kRows - 1);
  result.launch_s = std::max(0.0, caution * one - result.row_s);
  result.position_s = result.prompt_pair_s = caution * (far - one) / kPositions;
  result.prompt_token_s =
      std::max(0.0, caution * chunk - result.launch_s) / static_cast<double>(chunk_tokens);
  result.chunk_tokens = chunk_tokens;
  return result;
}

}  // namespace edgewise::admission
