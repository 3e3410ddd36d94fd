// What a step costs in seconds, learned from the steps that were measured.
//
// A step reads the weights once, multiplies them with each of its rows, draws from some of the rows
// and reads the keys and values that each row attends to. So
//
//   seconds = c0 + c1 min(rows, 16) + c2 max(rows - 16, 0) + c3 logits + c4 positions,   all c >= 0
//
// where rows count twice because few of them hide behind the reading of the weights and many do
// not. The coefficients minimize the squared relative error over recent steps of every size: each
// power of two of rows forgets on its own, so a long stretch of small steps does not unlearn what a
// large one costs. Steps that took far longer than the model says (somebody else had the machine)
// count less. The same measurements give the same coefficients. One thread.
#pragma once

#include <array>
#include <cstdint>

namespace edgewise::steps {

struct StepShape {
  std::int64_t rows = 0;       // tokens computed
  std::int64_t logits = 0;     // rows that a token is drawn from
  std::int64_t positions = 0;  // keys read, summed over rows

  // `tokens` more rows of one sequence, the first at `position`.
  void add(std::int64_t tokens, std::int64_t position, bool draws);
};

class StepCost {
 public:
  // What to believe before the first measurement, which sets the scale: seconds of a step of one
  // row, and of each further row; positive.
  StepCost(double first_row, double further_row);

  void observe(const StepShape& shape, double seconds);
  double seconds(const StepShape& shape) const;

  // Most of `wanted` tokens from `position` on that can join `shape` without its step taking longer
  // than `limit` seconds; 0 when not even one can.
  std::int64_t tokens_within(const StepShape& shape,
                             std::int64_t position,
                             std::int64_t wanted,
                             double limit) const;

  // Mean of |log(measured / predicted)| over recent steps, each predicted before it was learned
  // from.
  double error() const { return error_; }

 private:
  static constexpr std::size_t kTerms = 5;
  static constexpr std::size_t kSizes = 16;
  using Terms = std::array<double, kTerms>;

  struct Moments {  // of the normal equations
    std::array<Terms, kTerms> xx = {};
    Terms xy = {};
    void forget(double factor);
    void add(const Terms& x, double seconds, double weight);
  };

  static Terms terms(const StepShape& shape);
  void believe(const Terms& coefficients);
  double fitted(const Terms& x) const;
  void solve();

  Moments belief_;                      // never forgotten, nearly weightless
  std::array<Moments, kSizes> recent_;  // by the logarithm of rows
  Terms coefficients_ = {};
  double drift_ =
      0.0;  // logarithm of how much slower the machine is just now than the coefficients
  double error_ = 0.3;
  std::int64_t observations_ = 0;
};

}  // namespace edgewise::steps
