// Numbers that name things, and the letters used for shapes in every header:
//   T tokens in a step · S positions in the cache · L layers · H query heads · K key/value heads ·
//   D head size · C model width · F feed-forward width · V vocabulary · E experts
#pragma once

#include <cstdint>

namespace edgewise {

using TokenId = std::int32_t;
using RequestId = std::uint64_t;
using std::int64_t;

}  // namespace edgewise
