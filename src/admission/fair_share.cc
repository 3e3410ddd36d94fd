#include "admission/fair_share.h"

#include <algorithm>
#include <limits>

#include "base/check.h"

namespace edgewise::admission {

double FairShare::least() const {
  double least = std::numeric_limits<double>::infinity();
  for (const auto& [tenant, counter] : counters_) {
    if (counter.present > 0) {
      least = std::min(least, counter.served);
    }
  }
  return least < std::numeric_limits<double>::infinity() ? least : floor_;
}

void FairShare::enter(const std::string& tenant) {
  const double least_served = least();
  Counter& counter = counters_[tenant];
  if (counter.present++ == 0) {
    counter.served = std::max(counter.served, least_served);
  }
}

void FairShare::leave(const std::string& tenant) {
  const auto it = counters_.find(tenant);
  CHECK(it != counters_.end() && it->second.present > 0, "tenant \"{}\" is not here", tenant);
  floor_ = std::max(floor_, least());
  --it->second.present;
}

void FairShare::charge(const std::string& tenant, double seconds, double share) {
  counters_[tenant].served += seconds / share;
}

double FairShare::lead(const std::string& tenant) const {
  const auto it = counters_.find(tenant);
  return it == counters_.end() ? 0.0 : std::max(0.0, it->second.served - least());
}

}  // namespace edgewise::admission
