#include "api/choice.h"

#include <algorithm>
#include <vector>

#include "api/service_level.h"
#include "base/check.h"

namespace edgewise::api {

std::size_t choose(std::span<const admission::Forecast> forecasts) {
  CHECK(!forecasts.empty(), "nobody to choose from");
  const auto is_better = [](const admission::Forecast& a, const admission::Forecast& b) {
    const bool a_in_time = a.late_s <= 0.0;
    const bool b_in_time = b.late_s <= 0.0;
    if (a_in_time != b_in_time) {
      return a_in_time;
    }
    return a_in_time ? a.machine_s < b.machine_s : a.late_s < b.late_s;
  };
  const auto best = std::min_element(forecasts.begin(), forecasts.end(), is_better);
  return static_cast<std::size_t>(best - forecasts.begin());
}

std::shared_ptr<Backend> choose_member(ServedModels::Members members,
                                       double min_accuracy,
                                       const admission::Prospect& prospect) {
  std::vector<std::shared_ptr<Backend>> accurate;
  for (const auto& member : members) {
    if (is_accurate(member->card(), min_accuracy)) {
      accurate.push_back(member);
    }
  }
  CHECK(!accurate.empty(), "no member is accurate enough");
  if (accurate.size() == 1) {
    return accurate.front();
  }
  std::vector<admission::Forecast> forecasts;
  forecasts.reserve(accurate.size());
  for (const auto& member : accurate) {
    forecasts.push_back(member->forecast(prospect));
  }
  return accurate[choose(forecasts)];
}

}  // namespace edgewise::api
