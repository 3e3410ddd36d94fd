// The integer product of one token with sdot (see products-inl.h). Sums of codes of any width are exact.
template <tensor::DType type, int count>
inline int32x4_t dot(const int8x16_t* w, const std::int8_t* codes) {
  int32x4_t sum = vdupq_n_s32(0);
  for (int g = 0; g < count; g += 4) {
    const int8x16_t x = vld1q_s8(codes + 4 * g);
    sum = vdotq_laneq_s32(sum, w[g], x, 0);
    sum = vdotq_laneq_s32(sum, w[g + 1], x, 1);
    sum = vdotq_laneq_s32(sum, w[g + 2], x, 2);
    sum = vdotq_laneq_s32(sum, w[g + 3], x, 3);
  }
  return sum;
}
