// Guesses how a text goes on: as it did after the longest earlier occurrence of its ending ("prompt
// lookup"), because answers quote their prompts and themselves. No second model.
//
// An occurrence is followed token by token. When a guess is wrong another one is looked for; while
// there is none, the old one is followed behind the token that differed: edits exchange single
// tokens. How often guesses were right, by the length of the occurrence so far, tells the chance of
// the next ones; that costs nothing, whether or not the guesses were put to use. One sequence's
// state: 4 bytes a token and an entry for each distinct triple. One thread.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <unordered_map>
#include <vector>

#include "base/ids.h"

namespace edgewise::speculation {

class Drafter {
 public:
  // Tokens that an occurrence has at least, and how many of the latest ones are compared.
  static constexpr std::int64_t kShortest = 3;
  static constexpr std::int64_t kCompared = 32;
  // Beyond it occurrences count as equally long.
  static constexpr std::int64_t kLongest = 64;

  // Guesses are counted behind the prompt.
  explicit Drafter(std::span<const TokenId> prompt) {
    follow(prompt);
    counts_ = true;
  }

  // Takes in what was appended to `tokens` since the last call. Token ids are in [0, 2^21).
  void follow(std::span<const TokenId> tokens);

  // What probably comes next: `most` tokens, or none. `tokens`: as followed last.
  std::vector<TokenId> draft(std::span<const TokenId> tokens, std::int64_t most) const;

  // [most] the chance that the first i + 1 tokens of the draft are all right; empty without one.
  std::vector<double> chances(std::int64_t most) const;

 private:
  static constexpr std::size_t kRungs = 7;

  struct Odds {
    double right = 0.0, seen = 0.0;
  };

  static std::size_t rung(std::int64_t length);
  double chance(std::int64_t length) const;
  void check_guess(TokenId token, std::span<const TokenId> before);
  void index(std::span<const TokenId> tokens);
  void look_back(std::span<const TokenId> tokens);

  std::unordered_map<std::uint64_t, std::int32_t> latest_;  // triple -> where it ended last
  std::vector<std::int32_t> previous_;  // [tokens] where the triple that ends here ended before; -1
  std::optional<std::size_t> source_;   // the token there is the guess
  std::int64_t length_ = 0;             // tokens before it that equal the text's ending
  bool counts_ = false;
  std::array<Odds, kRungs> odds_ = {};  // by rung of length_
};

}  // namespace edgewise::speculation
