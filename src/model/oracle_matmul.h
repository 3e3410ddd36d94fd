// y[t, row] = sum over k of w[row, k] * x[t, k] in doubles, weights dequantized row by row. Parallel over rows.
#pragma once

#include <cstdint>

#include "model/weights.h"
#include "platform/worker_pool.h"

namespace edgewise::model {

void oracle_matmul(
    platform::WorkerPool& pool, const Matrix& w, const double* x, std::int64_t tokens, double* y);

}  // namespace edgewise::model
