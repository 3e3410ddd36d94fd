#include "kernels/packing_fingerprint.h"

#include <cstddef>
#include <span>
#include <vector>

#include "base/hash.h"
#include "kernels/packed.h"
#include "kernels/planes.h"

namespace edgewise::kernels {
namespace {

constexpr std::int64_t kSampleRows = 2 * kPanelRows + 3;  // whole panels, and a padded one
constexpr std::int64_t kSampleCols = 512;                 // two units of the widest type

// The same bytes on every machine. Other ones would make every packed file stale.
std::vector<std::byte> sample_of(tensor::DType type) {
  std::vector<std::byte> bytes(
      static_cast<std::size_t>(tensor::storage_bytes(type, kSampleRows * kSampleCols)));
  std::uint64_t state = 1;
  for (std::byte& b : bytes) {
    state += kSplitMixStep;
    const std::uint64_t z = (state ^ (state >> 30U)) * 0xBF58476D1CE4E5B9ULL;
    b = static_cast<std::byte>(z >> 56U);
  }
  return bytes;
}

}  // namespace

std::uint64_t packing_fingerprint() {
  std::uint64_t hash = fnv1a("");
  for (const tensor::DTypeTraits& traits : tensor::all_dtypes()) {
    const std::vector<std::byte> sample = sample_of(traits.type);
    std::vector<std::byte> packed(
        static_cast<std::size_t>(packed_bytes(traits.type, kSampleRows, kSampleCols)));
    pack_panels(traits.type, sample, kSampleRows, kSampleCols, 0,
                (kSampleRows + kPanelRows - 1) / kPanelRows, packed.data());
    hash = fnv1a(packed, hash);
    if (can_split(traits.type)) {
      pack_planes(traits.type, sample, kSampleRows, kSampleCols, 0,
                  (kSampleRows + kPanelRows - 1) / kPanelRows, packed.data());
      hash = fnv1a(packed, hash);
    }
  }
  return hash;
}

}  // namespace edgewise::kernels
