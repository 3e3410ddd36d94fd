// Rows of activations as codes, over V (see elementwise-inl.h). The x86 tables have their own, quantize_x86-inl.h.

// Symmetric int8 per 32 columns: scale = max|x| / 127, codes rounded to nearest even.
inline void quantize_row(const float* x, std::int64_t cols, CodeBlock* out) {
  for (std::int64_t b = 0; b < cols / kBlock; ++b) {
    const V first = V::load(x + b * kBlock);
    const V second = V::load(x + b * kBlock + 16);
    const float highest = V::max(V::abs(first), V::abs(second)).highest();
    const V inverse = V::set1(highest > 0.0F ? 127.0F / highest : 0.0F);
    CodeBlock& block = out[b];
    const int sum0 = V::mul(first, inverse).store_codes(block.codes);
    const int sum1 = V::mul(second, inverse).store_codes(block.codes + 16);
    block.scale = highest / 127.0F;
    block.sum = block.scale * static_cast<float>(sum0 + sum1);
    block.float_start = kFloatBase - static_cast<float>(32 * sum0);
    block.start = -16 * (sum0 + sum1);
    block.half_starts[0] = -32 * sum0;
    block.half_starts[1] = -32 * sum1;
  }
}
