#include "admission/answer_length.h"

#include <algorithm>

namespace edgewise::admission {
namespace {

constexpr std::size_t kRemembered = 256;
constexpr std::size_t kFewest = 8;  // fewer say nothing
constexpr double kLong = 0.8;       // quantile: rather late than sorry, who is let in should finish
constexpr std::int64_t kUnknown = 256;  // before there is anything to learn from

}  // namespace

void AnswerLength::observe(std::int64_t tokens) {
  if (recent_.size() == kRemembered) {
    sorted_.erase(std::lower_bound(sorted_.begin(), sorted_.end(), recent_.front()));
    recent_.pop_front();
  }
  recent_.push_back(tokens);
  sorted_.insert(std::upper_bound(sorted_.begin(), sorted_.end(), tokens), tokens);
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
  const auto longer = std::upper_bound(sorted_.begin(), sorted_.end(), generated);
  const auto count = static_cast<std::size_t>(sorted_.end() - longer);
  if (count < kFewest) {
    return std::min(most, unknown);
  }
  const auto at = static_cast<std::ptrdiff_t>(q * static_cast<double>(count - 1));
  return std::min(most, *(longer + at) - generated);
}

}  // namespace edgewise::admission
