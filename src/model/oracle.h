// The slow, obviously right model: weights dequantized a row at a time, everything in doubles, written for reading.
// What the fast model is measured against. Keys and values pass through the same cache, so that both differ
// from the ideal in nothing but the arithmetic.
#pragma once

#include <memory>

#include "model/model.h"

namespace edgewise::model {

Result<std::unique_ptr<Model>> load_oracle(std::shared_ptr<const tensor::ModelFile> file,
                                           ModelSpec spec,
                                           platform::WorkerPool& pool);

}  // namespace edgewise::model
