// A checksum as fast as memory is read, for files of our own that may be truncated or damaged.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace edgewise::platform {

// Against accidents, not attacks. No change of a single word goes unseen.
std::uint64_t checksum(std::span<const std::byte> bytes);

}  // namespace edgewise::platform
