#include "admission/answer_length.h"

#include <algorithm>

namespace edgewise::admission {
namespace {

constexpr std::size_t kRemembered = 256;
constexpr std::ptrdiff_t kFewest = 8;  // fewer say nothing
constexpr double kLong = 0.8;  // quantile: rather late than sorry, who is let in should finish
constexpr std::int64_t kUnknown = 256;  // before there is anything to learn from

constexpr double kRounding = 1e-9;

}  // namespace

void AnswerLength::observe(std::int64_t tokens, bool was_cut) {
  if (tokens == 0 && was_cut) {
    return;  // says nothing
  }
  if (recent_.size() == kRemembered) {
    sorted_.erase(std::lower_bound(sorted_.begin(), sorted_.end(), recent_.front()));
    recent_.pop_front();
  }
  const Length length{tokens, was_cut};
  recent_.push_back(length);
  sorted_.insert(std::upper_bound(sorted_.begin(), sorted_.end(), length), length);
  estimate_survival();
}

// Of those that came so far, who ended there went, and who was cut there is lost from sight.
void AnswerLength::estimate_survival() {
  survival_.clear();
  double survival = 1.0;
  auto seen = static_cast<double>(sorted_.size());
  for (const Length& length : sorted_) {
    survival *= length.was_cut ? 1.0 : 1.0 - 1.0 / seen;
    survival_.push_back(survival);
    seen -= 1.0;
  }
}

std::int64_t AnswerLength::remaining(std::int64_t generated, std::int64_t limit) const {
  return quantile(kLong, generated, limit, kUnknown);
}

std::int64_t AnswerLength::least_remaining(std::int64_t generated, std::int64_t limit) const {
  return quantile(1.0 - kLong, generated, limit, 1);
}

std::int64_t AnswerLength::quantile(double q,
                                    std::int64_t generated,
                                    std::int64_t limit,
                                    std::int64_t unknown) const {
  const std::int64_t most = std::max<std::int64_t>(limit - generated, 1);
  const auto longer = std::upper_bound(sorted_.begin(), sorted_.end(), Length{generated, true});
  if (sorted_.end() - longer < kFewest) {
    return std::min(most, unknown);
  }
  const auto first = survival_.begin() + (longer - sorted_.begin());
  const double share = (1.0 - q) * (first == survival_.begin() ? 1.0 : *(first - 1)) + kRounding;
  const auto last =
      std::partition_point(first, survival_.end(), [&](double s) { return s > share; });
  if (last == survival_.end()) {  // so long an answer was never seen to end
    return std::min(most, std::max(unknown, sorted_.back().tokens - generated));
  }
  const Length& length = sorted_[static_cast<std::size_t>(last - survival_.begin())];
  return std::min(most, length.tokens - generated);
}

}  // namespace edgewise::admission
