// The transform that keys are stored under when they become 8-bit codes, and queries meet them under (docs/arithmetic.md).
// Included by attention-inl.h. No include guard on purpose.

// Lane i meets lane i ^ stride: the lower of the two becomes their sum, the upper their difference.
template <int kStride>
inline V sum_and_difference(V x) {
  alignas(64) static constexpr std::array<float, 16> kSigns = [] {
    std::array<float, 16> signs{};
    for (std::size_t i = 0; i < 16; ++i) {
      signs[i] = (i & kStride) == 0 ? 1.0F : -1.0F;
    }
    return signs;
  }();
  return V::add(V::mul(x, V::load(kSigns.data())), x.template exchanged<kStride>());
}

// to = factor * the Walsh-Hadamard transform of each `count & -count` values of `from` (which may be `to`), strides
// ascending. What is large in one place becomes moderate in all, and products of two transformed vectors are those of
// the vectors themselves, times that size.
inline void spread(const float* from, std::int64_t count, float factor, float* to) {
  for (std::int64_t d = 0; d < count; d += 16) {
    V x = V::mul(V::load(from + d), V::set1(factor));
    x = sum_and_difference<1>(x);
    x = sum_and_difference<2>(x);
    x = sum_and_difference<4>(x);
    sum_and_difference<8>(x).store(to + d);
  }
  const std::int64_t size = count & -count;
  for (std::int64_t stride = 16; stride < size; stride *= 2) {
    for (std::int64_t begin = 0; begin < count; begin += 2 * stride) {
      for (float* x = to + begin; x < to + begin + stride; x += 16) {
        const V a = V::load(x);
        const V b = V::load(x + stride);
        V::add(a, b).store(x);
        V::sub(a, b).store(x + stride);
      }
    }
  }
}
