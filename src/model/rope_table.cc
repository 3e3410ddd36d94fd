#include "model/rope_table.h"

#include <cmath>

#include "model/rope.h"

namespace edgewise::model {
RopeTable::RopeTable(const RopeSpec& spec, std::int64_t dims)
    : half_(dims / 2), magnitude_(spec.magnitude), frequencies_(rope_frequencies(spec, dims)) {}

void RopeTable::extend(std::int64_t positions) {
  for (std::int64_t p = half_ == 0 ? positions : std::ssize(cos_) / half_; p < positions; ++p) {
    for (const double frequency : frequencies_) {
      const double angle = static_cast<double>(p) * frequency;
      cos_.push_back(static_cast<float>(std::cos(angle) * magnitude_));
      sin_.push_back(static_cast<float>(std::sin(angle) * magnitude_));
    }
  }
}

}  // namespace edgewise::model
