#include "sampling/logit_scan.h"

#include <algorithm>
#include <array>
#include <limits>

namespace edgewise::sampling {
namespace {

constexpr std::size_t kLanes = 16;  // independent chains, so that the compiler uses vectors
constexpr float kMinusInfinity = -std::numeric_limits<float>::infinity();

}  // namespace

Highest find_highest(std::span<const float> logits) {
  std::array<float, kLanes> top;
  top.fill(kMinusInfinity);
  std::array<std::uint32_t, kLanes> nan{};
  const std::size_t even = logits.size() / kLanes * kLanes;
  for (std::size_t i = 0; i < even; i += kLanes) {
    for (std::size_t j = 0; j < kLanes; ++j) {
      const float x = logits[i + j];
      top[j] = x > top[j] ? x : top[j];
      nan[j] |= x == x ? 0U : 1U;
    }
  }
  for (std::size_t i = even; i < logits.size(); ++i) {
    const float x = logits[i];
    top[0] = x > top[0] ? x : top[0];
    nan[0] |= x == x ? 0U : 1U;
  }
  Highest result;
  result.logit = *std::max_element(top.begin(), top.end());
  result.has_nan =
      std::any_of(nan.begin(), nan.end(), [](std::uint32_t flag) { return flag != 0; });
  const auto first = std::find(logits.begin(), logits.end(), result.logit);
  result.token = first == logits.end() ? -1 : static_cast<TokenId>(first - logits.begin());
  return result;
}

void find_likeliest(std::span<const float> logits,
                    std::size_t count,
                    std::vector<TokenId>& likeliest) {
  const auto before = [&](TokenId a, TokenId b) {
    const float la = logits[static_cast<std::size_t>(a)];
    const float lb = logits[static_cast<std::size_t>(b)];
    return la != lb ? la > lb : a < b;
  };
  count = std::min(count, logits.size());
  likeliest.clear();
  if (count == 0) {
    return;
  }
  const std::size_t most = 2 * count + 64;
  likeliest.reserve(most);
  // Collects up to twice as many as asked before it cuts back to the best `count`, whose last one
  // is the bar that later tokens must clear: on average a constant number of operations per token.
  float bar = kMinusInfinity;
  const auto cut = [&] {
    if (likeliest.size() > count) {
      std::nth_element(likeliest.begin(),
                       likeliest.begin() + static_cast<std::ptrdiff_t>(count) - 1, likeliest.end(),
                       before);
      likeliest.resize(count);
      bar = logits[static_cast<std::size_t>(likeliest.back())];
    }
  };
  for (std::size_t i = 0; i < logits.size(); ++i) {
    if (logits[i] > bar) {
      likeliest.push_back(static_cast<TokenId>(i));
      if (likeliest.size() == most) {
        cut();
      }
    }
  }
  cut();
  std::sort(likeliest.begin(), likeliest.end(), before);
}

double fill_weights(std::span<const float> logits,
                    float top,
                    double inverse_temperature,
                    std::vector<double>& weights) {
  constexpr std::size_t kBlock = 64;
  constexpr std::size_t kSums = 4;
  weights.resize(logits.size());
  std::array<double, kSums> sums{};
  std::array<double, kBlock> x;
  std::array<double, kBlock> weight;
  for (std::size_t start = 0; start < logits.size(); start += kBlock) {
    const std::size_t count = std::min(kBlock, logits.size() - start);
    x.fill(-std::numeric_limits<double>::infinity());
    for (std::size_t i = 0; i < count; ++i) {
      x[i] =
          (static_cast<double>(logits[start + i]) - static_cast<double>(top)) * inverse_temperature;
    }
    for (std::size_t i = 0; i < kBlock; ++i) {
      weight[i] = exp_of_nonpositive(x[i]);
    }
    for (std::size_t i = 0; i < kBlock; i += kSums) {
      for (std::size_t j = 0; j < kSums; ++j) {
        sums[j] += weight[i + j];
      }
    }
    std::copy_n(weight.begin(), count, weights.begin() + static_cast<std::ptrdiff_t>(start));
  }
  return (sums[0] + sums[1]) + (sums[2] + sums[3]);
}

}  // namespace edgewise::sampling
