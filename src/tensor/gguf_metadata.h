// The metadata section of a GGUF file. Private to the readers in tensor/.
#pragma once

#include <cstdint>

#include "base/result.h"
#include "tensor/byte_cursor.h"
#include "tensor/model_file.h"

namespace edgewise::tensor {

// Reads `count` entries; the cursor stands at the first one.
Result<Metadata> read_gguf_metadata(ByteCursor& in, std::uint64_t count);

}  // namespace edgewise::tensor
