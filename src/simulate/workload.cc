#include "simulate/workload.h"

#include <cmath>

namespace edgewise::simulate {

double draw_gain(const Channel& channel, Random& random) {
  const double distance = random.uniform(channel.least_distance_m, channel.most_distance_m);
  const double gain = channel.path_gain * std::pow(distance, -channel.exponent);
  return channel.has_rayleigh_fading ? gain * random.exponential(1.0) : gain;
}

schedule::Request draw_request(const Workload& workload, Random& random) {
  schedule::Request request;
  request.prompt_tokens = workload.prompt_tokens[random.index(workload.prompt_tokens.size())];
  request.output_tokens = workload.output_tokens[random.index(workload.output_tokens.size())];
  request.deadline_s = random.uniform(workload.least_deadline_s, workload.most_deadline_s);
  request.min_accuracy = random.uniform(workload.least_accuracy, workload.most_accuracy);
  return request;
}

std::vector<Arrival> draw_arrivals(const Workload& workload,
                                   std::span<const Node> nodes,
                                   std::uint64_t seed) {
  Random random(seed);
  std::vector<Arrival> arrivals;
  double now = 0.0;
  while (workload.rate_per_s > 0.0) {
    now += random.exponential(1.0 / workload.rate_per_s);
    if (now >= workload.duration_s) {
      break;
    }
    Arrival arrival{.time_s = now, .request = draw_request(workload, random), .gains = {}};
    for (const Node& node : nodes) {
      arrival.gains.push_back(draw_gain(node.channel, random));
    }
    arrivals.push_back(std::move(arrival));
  }
  return arrivals;
}

}  // namespace edgewise::simulate
