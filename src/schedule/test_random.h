// Random numbers for tests, here and in the folders above: the same for the same seed.
#pragma once

#include <cstdint>
#include <random>

namespace edgewise::schedule {

class TestRandom {
 public:
  explicit TestRandom(std::uint64_t seed) : generator_(seed) {}

  double real(double least, double most) {
    return std::uniform_real_distribution<double>(least, most)(generator_);
  }

  // Both ends included.
  std::int64_t integer(std::int64_t least, std::int64_t most) {
    return std::uniform_int_distribution<std::int64_t>(least, most)(generator_);
  }

  double exponential(double rate) {
    return std::exponential_distribution<double>(rate)(generator_);
  }

  bool coin(double probability = 0.5) { return real(0.0, 1.0) < probability; }

  bool one_of(int n) { return integer(1, n) == 1; }

 private:
  std::mt19937_64 generator_;
};

}  // namespace edgewise::schedule
