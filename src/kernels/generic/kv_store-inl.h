// One token's keys and values into a block of the cache, as binary16 or as 8-bit codes with scales (docs/arithmetic.md). Included
// after attention-inl.h; spread() turns keys into what codes are made of. No include guard on purpose.

// How one head's key or value becomes what is stored: store(16 values) into 16 elements.
struct HalfStore {
  void operator()(V x, std::uint16_t* to) const { x.store_f16(to); }
};

struct CodeStore {
  float inverse;

  void operator()(V x, std::int8_t* to) const { V::mul(x, V::set1(inverse)).store_codes(to); }
};

// The scale of `count` values, and what multiplies them to make codes. What is not finite has no code; its scale says so.
struct CodeScale {
  float scale;
  float inverse;
};

inline CodeScale code_scale(const float* x, std::int64_t count) {
  V highest = V::set1(0.0F);
  V finite = V::set1(0.0F);  // stays so while all values are
  for (std::int64_t d = 0; d < count; d += 16) {
    const V v = V::load(x + d);
    highest = V::max(highest, V::abs(v));
    finite = V::fma(v, V::set1(0.0F), finite);
  }
  if (finite.sum() != 0.0F) {
    return {std::numeric_limits<float>::quiet_NaN(), 0.0F};
  }
  const float most = highest.highest();
  return {most / 127.0F, most > 0.0F ? 127.0F / most : 0.0F};
}

template <typename T, typename Store>
inline void store_key(const float* key, std::int64_t depth, T* to, Store store) {
  T stored[16];
  for (std::int64_t d = 0; d < depth; d += 16) {
    store(V::load(key + d), stored);
    for (int i = 0; i < 16; ++i) {
      to[(d + i) * 16] = stored[i];
    }
  }
}

template <typename T, typename Store>
inline void store_value(const float* value, std::int64_t dim, T* to, Store store) {
  for (std::int64_t d = 0; d < dim; d += 16) {
    store(V::load(value + d), to + d);
  }
}

inline void store_kv(const AttentionShape& shape,
                     float* k,
                     const float* v,
                     const KvBlock& block,
                     std::int64_t offset) {
  const std::int64_t depth = shape.head_dim;
  const std::int64_t dim = shape.value_dim;
  for (std::int64_t h = 0; h < shape.kv_heads; ++h) {
    const std::int64_t key = h * kKeyBlock * depth + offset / 16 * depth * 16 + offset % 16;
    const std::int64_t value = (h * kKeyBlock + offset) * dim;
    if (block.type == KvType::kF16) {
      store_key(k + h * depth, depth, block.k_halves() + key, HalfStore{});
      store_value(v + h * dim, dim, block.v_halves() + value, HalfStore{});
      continue;
    }
    spread(k + h * depth, depth, 1.0F, k + h * depth);
    const CodeScale of_key = code_scale(k + h * depth, depth);
    const CodeScale of_value = code_scale(v + h * dim, dim);
    block.k_scales[h * kKeyBlock + offset] = of_key.scale;
    block.v_scales[h * kKeyBlock + offset] = of_value.scale;
    store_key(k + h * depth, depth, block.k_codes() + key, CodeStore{of_key.inverse});
    store_value(v + h * dim, dim, block.v_codes() + value, CodeStore{of_value.inverse});
  }
}
