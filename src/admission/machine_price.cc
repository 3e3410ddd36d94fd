#include "admission/machine_price.h"

#include <algorithm>
#include <vector>

namespace edgewise::admission {
namespace {

constexpr double kWindow = 20.0;          // seconds
constexpr std::size_t kRemembered = 512;  // of the window: the latest
constexpr double kTogether = 8.0;         // sequences that generate at once, whose steps are shared

}  // namespace

void MachinePrice::observe(const Ask& ask, Clock::time_point now) {
  if (seen_.size() == kRemembered) {
    seen_.pop_front();
  }
  seen_.push_back({ask, now});
}

double MachinePrice::per_second(const schedule::StepCost& cost,
                                Clock::time_point now,
                                double machines) {
  const auto age = [now](Clock::time_point at) {
    return std::chrono::duration<double>(now - at).count();
  };
  while (!seen_.empty() && age(seen_.front().at) > kWindow) {
    seen_.pop_front();
  }

  struct Item {
    double density = 0.0;
    double seconds = 0.0;
  };

  std::vector<Item> items;
  double all = 0.0;
  for (const auto& [ask, at] : seen_) {
    const double seconds = machine_seconds(cost, ask.prompt_tokens, ask.output_tokens);
    items.push_back({ask.worth / seconds, seconds});
    all += seconds;
  }
  // When more came than are remembered, those stand for the time since the oldest of them.
  double left = machines * (seen_.size() == kRemembered ? age(seen_.front().at) : kWindow);
  if (all <= left) {
    return 0.0;
  }
  std::sort(items.begin(), items.end(),
            [](const Item& a, const Item& b) { return a.density > b.density; });
  for (const Item& item : items) {
    left -= item.seconds;
    if (left < 0.0) {
      return item.density;
    }
  }
  return 0.0;
}

double MachinePrice::machine_seconds(const schedule::StepCost& cost,
                                     std::int64_t prompt_tokens,
                                     std::int64_t output_tokens) {
  const auto prompt = static_cast<double>(prompt_tokens);
  return prompt * cost.prompt_token_s + prompt * prompt / 2.0 * cost.prompt_pair_s +
         static_cast<double>(output_tokens) * cost.decode_s(kTogether, kTogether * prompt) /
             kTogether +
         1e-9;
}

}  // namespace edgewise::admission
