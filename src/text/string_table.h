// A fixed-size hash table from byte strings to token ids: open addressing, linear probing, keys
// kept by the caller.
//
// Filled once, then read by any thread. The hash is seeded per table, so that a hostile vocabulary
// can not be built to collide.
#pragma once

#include <cstdint>
#include <cstring>
#include <random>
#include <string_view>
#include <vector>

#include "base/ids.h"

namespace edgewise::text {

// Both halves of the product together: every bit of the result depends on every bit of `a`.
inline std::uint64_t fold_product(std::uint64_t a, std::uint64_t b) {
  __extension__ using Product = unsigned __int128;
  const Product product = static_cast<Product>(a) * b;
  return static_cast<std::uint64_t>(product) ^ static_cast<std::uint64_t>(product >> 64);
}

inline std::uint64_t random_seed() {
  std::random_device device;
  return (std::uint64_t{device()} << 32) | device();
}

// Multiply-and-fold hash over 8-byte words, after wyhash (Wang Yi, github.com/wangyi-fudan/wyhash).
inline std::uint64_t hash_bytes(std::string_view bytes, std::uint64_t seed) {
  constexpr std::uint64_t kFirst = 0xa0761d6478bd642f;  // odd constants with balanced bits
  constexpr std::uint64_t kSecond = 0xe7037ed1a0b428db;
  std::uint64_t state = seed ^ (bytes.size() * kFirst);
  const char* p = bytes.data();
  std::size_t left = bytes.size();
  while (left >= 8) {
    std::uint64_t word;
    std::memcpy(&word, p, 8);
    state = fold_product(state ^ word, kSecond);
    p += 8;
    left -= 8;
  }
  std::uint64_t tail = 0;
  for (std::size_t i = 0; i < left; ++i) {
    tail |= static_cast<std::uint64_t>(static_cast<unsigned char>(p[i])) << (8 * i);
  }
  return fold_product(state ^ tail ^ kSecond, kFirst);
}

class StringTable {
 public:
  // Room for `count` entries at a load of at most one half.
  explicit StringTable(std::size_t count = 0) : seed_(random_seed()) {
    std::size_t size = 16;
    while (size < 2 * count) {
      size *= 2;
    }
    slots_.resize(size);
  }

  // key_of(id) gives the stored key of an id. A key that is there already keeps its place and gets
  // the new id.
  template <typename KeyOf>
  void insert(std::string_view key, TokenId id, const KeyOf& key_of) {
    slot_of(key, key_of) = {tag_of(hash_bytes(key, seed_)), id};
  }

  template <typename KeyOf>
  TokenId find(std::string_view key, const KeyOf& key_of) const {
    return const_cast<StringTable*>(this)->slot_of(key, key_of).id;
  }

 private:
  struct Slot {
    std::uint32_t tag = 0;
    TokenId id = -1;
  };

  static std::uint32_t tag_of(std::uint64_t hash) { return static_cast<std::uint32_t>(hash >> 32); }

  // The slot that holds `key`, or the empty one where it belongs.
  template <typename KeyOf>
  Slot& slot_of(std::string_view key, const KeyOf& key_of) {
    const std::uint64_t hash = hash_bytes(key, seed_);
    const std::size_t mask = slots_.size() - 1;
    for (std::size_t i = hash & mask;; i = (i + 1) & mask) {
      Slot& slot = slots_[i];
      if (slot.id < 0 || (slot.tag == tag_of(hash) && key_of(slot.id) == key)) {
        return slot;
      }
    }
  }

  std::uint64_t seed_;
  std::vector<Slot> slots_;
};

}  // namespace edgewise::text
