// Row operations, written once over V: a vector of 16 floats with the arithmetic of docs/arithmetic.md.
// Included inside each instruction set's namespace and target region after its V; no include guard on purpose.
//
// V provides: load store set1 add sub mul div fma(a,b,c)=a*b+c max min zero_where_less
// load_f16 load_codes store_f16 store_codes exchanged<stride>, times_exp2(p, t)=p*2^n for t = 1.5*2^23 + n
// (anything where that is no normal number), and the fixed trees sum() and highest().

// exp(x) for x of at most 88: Cephes-style range reduction and a degree-6 polynomial, within 2.5e-7 of the true value,
// relative; 0 below -87.33, exp(0) is exactly 1. What is not a number stays so.
inline V exp_to_88(V x) {
  const V magic =
      V::set1(12582912.0F);  // 1.5 * 2^23: adding it rounds to an integer in the low bits
  const V t = V::add(V::mul(x, V::set1(1.44269504F)), magic);
  const V n = V::sub(t, magic);
  V r = V::fma(n, V::set1(-0.693359375F), x);
  r = V::fma(n, V::set1(2.12194440e-4F), r);
  V p = V::set1(1.3981999507e-3F);
  p = V::fma(p, r, V::set1(8.3334519073e-3F));
  p = V::fma(p, r, V::set1(4.1665795894e-2F));
  p = V::fma(p, r, V::set1(1.6666665459e-1F));
  p = V::fma(p, r, V::set1(5.0000001201e-1F));
  p = V::add(V::fma(V::mul(r, r), p, r), V::set1(1.0F));
  return V::zero_where_less(x, V::set1(-87.33F), V::times_exp2(p, t));
}

// exp(88) above 88. min returns its second operand when one of the two is not a number.
inline V exp(V x) {
  return exp_to_88(V::min(V::set1(88.0F), x));
}

inline V sigmoid(V x) {
  return V::div(V::set1(1.0F), V::add(V::set1(1.0F), exp(V::sub(V::set1(0.0F), x))));
}

inline V tanh(V x) {
  const V one = V::set1(1.0F);
  return V::sub(one, V::div(V::set1(2.0F), V::add(exp(V::add(x, x)), one)));
}

// gelu with the tanh approximation: x * sigmoid(2 u), u = sqrt(2/pi) (x + 0.044715 x^3).
inline V gelu(V x) {
  const V cubic = V::fma(V::mul(V::mul(x, x), x), V::set1(0.044715F), x);
  return V::mul(x, sigmoid(V::mul(cubic, V::set1(1.5957691216F))));
}

// gelu by its definition, x Phi(x) with the normal distribution Phi: max(x, 0) - |x| Phi(-|x|), in which near numbers are never
// subtracted. Phi(-t) = exp(-t^2 / 2) u P(u), u = 1 / (1 + 0.3 t); P fits to 1.3e-7. Phi(-t) is within 5e-7 + 3e-8 t^2 of the
// true value, relative.
inline V gelu_erf(V x) {
  const V one = V::set1(1.0F);
  const V t =
      V::min(V::set1(15.0F), V::abs(x));  // Phi(-15) is 0 already, and infinity times 0 none
  const V u = V::div(one, V::fma(t, V::set1(0.3F), one));
  V p = V::set1(3.60364579e-2F);
  p = V::fma(p, u, V::set1(-1.58714205e-1F));
  p = V::fma(p, u, V::set1(2.08965525e-1F));
  p = V::fma(p, u, V::set1(-5.60966544e-2F));
  p = V::fma(p, u, V::set1(1.29843786e-1F));
  p = V::fma(p, u, V::set1(9.95229632e-2F));
  p = V::fma(p, u, V::set1(1.20816909e-1F));
  p = V::fma(p, u, V::set1(1.19625166e-1F));
  const V tail = V::mul(V::mul(p, u), exp(V::mul(V::mul(t, t), V::set1(-0.5F))));
  return V::sub(V::max(V::set1(0.0F), x), V::mul(t, tail));
}

// body(V(x[i..])) -> out[i..]; the tail is computed in a full vector whose surplus lanes are dropped.
template <typename Body>
inline void map_row(std::int64_t n, const float* x, float* out, Body body) {
  std::int64_t i = 0;
  for (; i + 16 <= n; i += 16) {
    body(V::load(x + i), i).store(out + i);
  }
  if (i < n) {
    float in[16] = {};
    float result[16];
    std::memcpy(in, x + i, static_cast<std::size_t>(n - i) * 4);
    body(V::load(in), i).store(result);
    std::memcpy(out + i, result, static_cast<std::size_t>(n - i) * 4);
  }
}

// Loads y[i..i+16) of a row of n, zeros beyond its end.
inline V load_padded(const float* y, std::int64_t i, std::int64_t n) {
  if (i + 16 <= n) {
    return V::load(y + i);
  }
  float padded[16] = {};
  std::memcpy(padded, y + i, static_cast<std::size_t>(n - i) * 4);
  return V::load(padded);
}

// 16 partial sums (index mod 16), then the fixed tree.
template <typename Body>
inline float sum_row(std::int64_t n, Body body) {
  V acc = V::set1(0.0F);
  for (std::int64_t i = 0; i < n; i += 16) {
    acc = body(acc, i);
  }
  return acc.sum();
}

inline void rms_norm(const float* x, const float* weight, float eps, std::int64_t n, float* out) {
  const float squares = sum_row(n, [&](V acc, std::int64_t i) {
    const V v = load_padded(x, i, n);
    return V::fma(v, v, acc);
  });
  const V scale = V::set1(1.0F / std::sqrt(squares / static_cast<float>(n) + eps));
  map_row(n, x, out, [&](V v, std::int64_t i) {
    const V scaled = V::mul(v, scale);
    return weight != nullptr ? V::mul(scaled, load_padded(weight, i, n)) : scaled;
  });
}

inline void layer_norm(
    const float* x, const float* weight, const float* bias, float eps, std::int64_t n, float* out) {
  const float mean =
      sum_row(n, [&](V acc, std::int64_t i) { return V::add(acc, load_padded(x, i, n)); }) /
      static_cast<float>(n);
  // Padding lanes must not count: they are given the mean itself.
  const auto centred = [&](std::int64_t i) {
    float lanes[16];
    for (std::int64_t j = 0; j < 16; ++j) {
      lanes[j] = i + j < n ? x[i + j] - mean : 0.0F;
    }
    return V::load(lanes);
  };
  const float squares = sum_row(n, [&](V acc, std::int64_t i) {
    const V v = centred(i);
    return V::fma(v, v, acc);
  });
  const V scale = V::set1(1.0F / std::sqrt(squares / static_cast<float>(n) + eps));
  map_row(n, x, out, [&](V v, std::int64_t i) {
    const V normal = V::mul(V::sub(v, V::set1(mean)), scale);
    return V::fma(normal, load_padded(weight, i, n),
                  bias != nullptr ? load_padded(bias, i, n) : V::set1(0.0F));
  });
}

inline void silu_mul(const float* gate, const float* up, std::int64_t n, float* out) {
  map_row(n, gate, out, [&](V v, std::int64_t i) {
    return V::mul(V::mul(v, sigmoid(v)), load_padded(up, i, n));
  });
}

inline void gelu_mul(const float* gate, const float* up, std::int64_t n, float* out) {
  map_row(n, gate, out, [&](V v, std::int64_t i) {
    return up != nullptr ? V::mul(gelu(v), load_padded(up, i, n)) : gelu(v);
  });
}

inline void gelu_erf_mul(const float* gate, const float* up, std::int64_t n, float* out) {
  map_row(n, gate, out, [&](V v, std::int64_t i) {
    return up != nullptr ? V::mul(gelu_erf(v), load_padded(up, i, n)) : gelu_erf(v);
  });
}

inline void add(const float* x, std::int64_t n, float* y) {
  map_row(n, y, y, [&](V v, std::int64_t i) { return V::add(v, load_padded(x, i, n)); });
}

inline void add_scaled(const float* x, float factor, std::int64_t n, float* y) {
  const V f = V::set1(factor);
  map_row(n, y, y, [&](V v, std::int64_t i) { return V::fma(load_padded(x, i, n), f, v); });
}

inline void scale(float factor, std::int64_t n, float* y) {
  const V f = V::set1(factor);
  map_row(n, y, y, [&](V v, std::int64_t) { return V::mul(v, f); });
}

inline V softcapped(V s, float cap) {
  return V::mul(V::set1(cap), tanh(V::div(s, V::set1(cap))));
}

inline void softcap(float cap, std::int64_t n, float* y) {
  map_row(n, y, y, [&](V v, std::int64_t) { return softcapped(v, cap); });
}

inline void softmax(std::int64_t n, float* y) {
  float highest = y[0];
  for (std::int64_t i = 1; i < n; ++i) {
    highest = y[i] > highest ? y[i] : highest;
  }
  const V top = V::set1(highest);
  map_row(n, y, y, [&](V v, std::int64_t) { return exp(V::sub(v, top)); });
  const float total =
      sum_row(n, [&](V acc, std::int64_t i) { return V::add(acc, load_padded(y, i, n)); });
  map_row(n, y, y, [&](V v, std::int64_t) { return V::div(v, V::set1(total)); });
}

// Eight neighbouring pairs of every head: a vector and its lanes exchanged take the same products and sums as rope() below.
inline void rotate_neighbours(
    float* x, std::int64_t heads, std::int64_t head_dim, const float* cos, const float* sin) {
  float cosines[16];
  float sines[16];  // a - b s is a + b (-s)
  for (std::int64_t i = 0; i < 8; ++i) {
    cosines[2 * i] = cosines[2 * i + 1] = cos[i];
    sines[2 * i] = -sin[i];
    sines[2 * i + 1] = sin[i];
  }
  const V c = V::load(cosines);
  const V s = V::load(sines);
  for (std::int64_t h = 0; h < heads; ++h) {
    float* pairs = x + h * head_dim;
    const V v = V::load(pairs);
    V::add(V::mul(v, c), V::mul(v.template exchanged<1>(), s)).store(pairs);
  }
}

inline void rope(RopeStyle style,
                 float* x,
                 std::int64_t heads,
                 std::int64_t head_dim,
                 std::int64_t n_rot,
                 const float* cos,
                 const float* sin) {
  const std::int64_t half = n_rot / 2;
  const std::int64_t step = style == RopeStyle::kNorm ? 2 : 1;
  const std::int64_t other = style == RopeStyle::kNorm ? 1 : half;
  std::int64_t first = 0;
  for (; style == RopeStyle::kNorm && first + 8 <= half; first += 8) {
    rotate_neighbours(x + 2 * first, heads, head_dim, cos + first, sin + first);
  }
  for (std::int64_t h = 0; h < heads; ++h) {
    float* head = x + h * head_dim;
    for (std::int64_t i = first; i < half; ++i) {
      float* pair = head + i * step;
      const float a = pair[0];
      const float b = pair[other];
      // Separate products and sums: the compiler may not fuse them (-ffp-contract=off).
      pair[0] = a * cos[i] - b * sin[i];
      pair[other] = a * sin[i] + b * cos[i];
    }
  }
}
