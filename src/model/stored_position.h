// One position's keys and values in a block of the cache, laid out and rounded as docs/arithmetic.md says, in doubles: for the
// oracle.
#pragma once

#include <cstdint>
#include <span>

#include "kernels/kernel_table.h"
#include "model/model_spec.h"

namespace edgewise::model {

class StoredPosition {
 public:
  // `slot`: of the block's positions.
  StoredPosition(const kernels::KvBlock& block, const ModelSpec& spec, std::int64_t slot)
      : block_(block), key_dim_(spec.head_dim), value_dim_(spec.value_dim), slot_(slot) {}

  // Of one key head; `from` and `to` have its dimensions.
  void set_key(std::int64_t head, std::span<const double> from) const;
  void set_value(std::int64_t head, std::span<const double> from) const;
  void get_key(std::int64_t head, std::span<double> to) const;
  void get_value(std::int64_t head, std::span<double> to) const;

 private:
  struct Place {
    std::int64_t first = 0;
    std::int64_t stride = 1;

    std::size_t operator[](std::size_t i) const {
      return static_cast<std::size_t>(first + stride * static_cast<std::int64_t>(i));
    }
  };

  Place key_place(std::int64_t head) const;
  Place value_place(std::int64_t head) const;
  std::int64_t scale_place(std::int64_t head) const;
  void set(std::span<const double> from,
           void* to,
           float* scales,
           Place place,
           std::int64_t scale_at) const;
  void get(const void* from,
           const float* scales,
           Place place,
           std::int64_t scale_at,
           std::span<double> to) const;

  kernels::KvBlock block_;
  std::int64_t key_dim_;
  std::int64_t value_dim_;
  std::int64_t slot_;
};

}  // namespace edgewise::model
