// A number that changes whenever packing does: files of packed weights carry it, so that a program
// with another layout never reads them, and nobody has to remember to count a version up.
#pragma once

#include <cstdint>

namespace edgewise::kernels {

// Of fixed sample matrices of every type, packed. Takes well below a millisecond.
std::uint64_t packing_fingerprint();

}  // namespace edgewise::kernels
