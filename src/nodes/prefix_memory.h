// Which engines have lately been given a prompt with the same beginning, and so should have it in their caches: a guess, since nobody
// asks them. One thread.
//
// Beginnings are whole blocks of tokens, each known by a hash of all tokens up to its end (api::PlacedRequest::beginnings). Owners share
// none.
#pragma once

#include <cstdint>
#include <list>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>

namespace edgewise::nodes {

class PrefixMemory {
 public:
  // Of the beginnings remembered, the latest.
  explicit PrefixMemory(std::size_t most = 65'536) : most_(most) {}

  // The engine, by any name, was given a prompt with these beginnings, ascending.
  void add(std::string_view owner,
           const std::string& engine,
           std::span<const std::uint64_t> beginnings);
  // How many of them, from the first on, it has been given.
  std::size_t known(std::string_view owner,
                    const std::string& engine,
                    std::span<const std::uint64_t> beginnings) const;

 private:
  const std::size_t most_;
  std::list<std::uint64_t> latest_;  // keys, the latest first
  std::unordered_map<std::uint64_t, std::list<std::uint64_t>::iterator> known_;
};

}  // namespace edgewise::nodes
