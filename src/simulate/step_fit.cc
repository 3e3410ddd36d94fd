#include "simulate/step_fit.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <vector>

#include "base/check.h"

namespace edgewise::simulate {
namespace {

using schedule::StepCost;

template <std::size_t n>
using Vector = std::array<double, n>;

// One measured step: seconds = x . coefficients.
template <std::size_t n>
struct Equation {
  Vector<n> x = {};
  double seconds = 0.0;
};

template <std::size_t n>
double dot(const Vector<n>& a, const Vector<n>& b) {
  double sum = 0.0;
  for (std::size_t i = 0; i < n; ++i) {
    sum += a[i] * b[i];
  }
  return sum;
}

// Coordinate descent over coefficients >= 0: few unknowns, few equations, and no negative costs.
template <std::size_t n>
Vector<n> least_squares(std::span<const Equation<n>> equations) {
  constexpr int kRounds = 20'000;
  Vector<n> coefficients = {};
  for (int round = 0; round < kRounds; ++round) {
    for (std::size_t i = 0; i < n; ++i) {
      double along = 0.0;
      double squares = 0.0;
      for (const Equation<n>& equation : equations) {
        const double weight = 1.0 / (equation.seconds * equation.seconds);
        const double rest =
            equation.seconds - dot(coefficients, equation.x) + coefficients[i] * equation.x[i];
        along += weight * equation.x[i] * rest;
        squares += weight * equation.x[i] * equation.x[i];
      }
      coefficients[i] = squares > 0.0 ? std::max(0.0, along / squares) : 0.0;
    }
  }
  return coefficients;
}

double relative_error(double predicted, double measured) {
  return std::abs(predicted / measured - 1.0);
}

double squared_error(const StepCost& cost, std::span<const DecodeSample> samples) {
  double sum = 0.0;
  for (const DecodeSample& sample : samples) {
    const double error =
        relative_error(cost.decode_s(sample.rows, sample.positions), sample.seconds);
    sum += error * error;
  }
  return sum;
}

// launch, row and position of steps whose weights take as long as multiplying `knee` rows.
StepCost fit_with_knee(double knee, std::span<const DecodeSample> samples) {
  std::vector<Equation<3>> equations;
  for (const DecodeSample& sample : samples) {
    equations.push_back({{1.0, std::max(knee, sample.rows), sample.positions}, sample.seconds});
  }
  const Vector<3> found = least_squares<3>(equations);
  return {.launch_s = found[0],
          .weights_s = knee * found[1],
          .row_s = found[1],
          .position_s = found[2]};
}

void fit_decode(std::span<const DecodeSample> samples, StepCost& cost) {
  const double most_rows =
      std::max_element(samples.begin(), samples.end(), [](const auto& a, const auto& b) {
        return a.rows < b.rows;
      })->rows;
  double least = schedule::kNever;
  for (double knee = 1.0; knee < most_rows; knee += 0.25) {
    const StepCost fitted = fit_with_knee(knee, samples);
    const double error = squared_error(fitted, samples);
    if (error < least) {
      least = error;
      cost = fitted;
    }
  }
}

double pairs(const PromptSample& sample) {
  const auto tokens = static_cast<double>(sample.tokens);
  return tokens * static_cast<double>(sample.from) + tokens * (tokens + 1.0) / 2.0;
}

void fit_prompt(std::span<const PromptSample> samples, StepCost& cost) {
  std::vector<Equation<2>> equations;
  for (const PromptSample& sample : samples) {
    // What a step costs whatever it holds is known from decoding; a chunk takes longer than that.
    equations.push_back({{static_cast<double>(sample.tokens), pairs(sample)},
                         std::max(sample.seconds - cost.launch_s, 0.1 * sample.seconds)});
  }
  const Vector<2> found = least_squares<2>(equations);
  cost.prompt_token_s = found[0];
  cost.prompt_pair_s = found[1];
}

}  // namespace

StepFit fit_step_cost(std::span<const DecodeSample> decode,
                      std::span<const PromptSample> prompt,
                      std::int64_t chunk_tokens) {
  CHECK(decode.size() > 1 && prompt.size() > 1);
  StepFit fit;
  fit_decode(decode, fit.cost);
  fit.cost.chunk_tokens = chunk_tokens;
  fit_prompt(prompt, fit.cost);
  for (const DecodeSample& sample : decode) {
    const double predicted = fit.cost.decode_s(sample.rows, sample.positions);
    fit.decode_error = std::max(fit.decode_error, relative_error(predicted, sample.seconds));
  }
  for (const PromptSample& sample : prompt) {
    const double predicted = fit.cost.prompt_s(sample.from, sample.from + sample.tokens);
    fit.prompt_error = std::max(fit.prompt_error, relative_error(predicted, sample.seconds));
  }
  return fit;
}

}  // namespace edgewise::simulate
