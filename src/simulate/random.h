// Random numbers that are the same everywhere: the generator is defined by the language, and so is what is made of it
// here (the library's distributions are not).
#pragma once

#include <cmath>
#include <cstdint>
#include <random>

namespace edgewise::simulate {

class Random {
 public:
  explicit Random(std::uint64_t seed) : generator_(seed) {}

  // Uniform in [0, 1).
  double unit() { return static_cast<double>(generator_() >> 11) * 0x1p-53; }

  double uniform(double least, double most) { return least + (most - least) * unit(); }

  double exponential(double mean) { return -mean * std::log1p(-unit()); }

  // Of 0 to count - 1.
  std::size_t index(std::size_t count) {
    return static_cast<std::size_t>(unit() * static_cast<double>(count));
  }

 private:
  std::mt19937_64 generator_;
};

}  // namespace edgewise::simulate
