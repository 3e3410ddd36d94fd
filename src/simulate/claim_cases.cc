#include "simulate/claim_cases.h"

#include "simulate/workload.h"

namespace edgewise::simulate {

schedule::NodeProblem draw_problem(const Node& node,
                                   const Workload& workload,
                                   std::size_t requests,
                                   double link_load,
                                   Random& random) {
  schedule::NodeProfile profile = node.profile;
  if (profile.radio) {
    profile.radio->bits_per_token *= link_load;
  }
  std::vector<schedule::Request> waiting;
  std::vector<double> gains;
  for (std::size_t i = 0; i < requests; ++i) {
    waiting.push_back(draw_request(workload, random));
    gains.push_back(draw_gain(node.channel, random));
  }
  return make_node_problem(profile, waiting, gains);
}

void redraw_links(schedule::NodeProblem& problem, double most, Random& random) {
  for (schedule::Candidate& candidate : problem.candidates) {
    candidate.uplink = random.uniform(0.0, most);
    candidate.downlink = random.uniform(0.0, most);
  }
}

void redraw_values(schedule::NodeProblem& problem, Random& random) {
  std::vector<double> values;
  for (schedule::Candidate& candidate : problem.candidates) {
    const auto request = static_cast<std::size_t>(candidate.request);
    while (values.size() <= request) {
      values.push_back(random.uniform(0.1, 3.0));
    }
    candidate.value = values[request];
  }
}

schedule::NodeProblem draw_joining(const Node& node,
                                   const Workload& workload,
                                   std::size_t requests,
                                   Random& random) {
  std::vector<schedule::RunningSequence> running(random.index(5));
  for (schedule::RunningSequence& sequence : running) {
    const schedule::Request request = draw_request(workload, random);
    sequence.context_tokens = request.prompt_tokens;
    sequence.remaining_prompt_tokens =
        static_cast<std::int64_t>(random.index(static_cast<std::size_t>(request.prompt_tokens)));
    sequence.remaining_output_tokens = request.output_tokens - 1;
    sequence.deadline_s = 2.0 * request.deadline_s;
  }
  std::vector<schedule::Request> waiting;
  for (std::size_t i = 0; i < requests; ++i) {
    waiting.push_back(draw_request(workload, random));
  }
  return make_node_problem(node.profile, waiting, {}, random.uniform(0.0, 0.05),
                           std::move(running));
}

}  // namespace edgewise::simulate
