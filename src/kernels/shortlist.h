// The largest outputs of a matrix in two planes (planes.h) without reading most of its low plane: an output layer's
// arg-max or top k.
//
// A first pass over the high plane gives each row a score and a proven upper bound. The k best panels, multiplied in
// full, give k outputs that certainly exist; every row whose bound is below the k-th of them is out. The survivors' low
// nibbles sharpen their scores to within rounding, and the panels of those that are still in are multiplied in full.
// What is reported is therefore the full product's bits, and what is not is proven to be below the k-th best.
// docs/arithmetic.md has the bound.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "kernels/ops.h"

namespace edgewise::kernels {

struct ShortlistCounts {
  std::int64_t used = 0;       // products answered from a shortlist
  std::int64_t fallbacks = 0;  // products tried and then computed in full
  std::int64_t survivors = 0;  // rows that the bound left, of all used
  std::int64_t rescored = 0;   // rows that were multiplied in full, of all used
};

// One caller at a time. Buffers grow to the largest matrix seen.
class Shortlist {
 public:
  Shortlist();
  ~Shortlist();

  // y[row] = (product with row 0 of x) + (product with row 1) for the rows that may be among the `count` largest, all
  // ties of the last one included, and -infinity for the others. y has 2 * y_stride floats; the second row is scratch.
  // False: y is undefined and the full product is to be taken (too many survivors, not long ago either, or an
  // infinite bound). Requires: w.low, two rows in x, count >= 1.
  bool find(Ops& ops,
            const PackedMatrix& w,
            const Activations& x,
            std::int64_t count,
            float* y,
            std::int64_t y_stride);

  const ShortlistCounts& counts() const { return counts_; }

 private:
  struct Search;
  bool must_wait(std::int64_t count);
  void note(bool success, std::int64_t count);

  std::unique_ptr<Search> search_;
  ShortlistCounts counts_;
  // After a failure the next 1, 2, 4 ... 64 products for as many outputs are not tried.
  std::int64_t failed_count_ = 0;
  std::int64_t pause_ = 0;
  std::int64_t waiting_ = 0;
};

}  // namespace edgewise::kernels
