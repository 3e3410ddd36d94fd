// The product of a range of panels with all tokens, the same for every instruction set. Included in its namespace after
//   quantized_panel<type>(panel, cols, x, y, y_stride, rows, scratch)   block formats
//   V, kFloatTokens                                                     tokens of a tile of F32, F16, BF16; at least 4
//   multiply_planes(w, panel, x, y, y_stride, rows)                     of a matrix in two planes; false: merge them first
//   merge_panel(w, panel, scratch)                                      the ordinary panel of one
// `rows` are those of the panel that exist. No include guard on purpose.

// Of column k.
template <tensor::DType type>
V float_weights(const std::byte* panel, std::int64_t k) {
  if constexpr (type == tensor::DType::kF32) {
    return V::load(reinterpret_cast<const float*>(panel) + k * kPanelRows);
  } else {
    const auto* bits = reinterpret_cast<const std::uint16_t*>(panel) + k * kPanelRows;
    return type == tensor::DType::kF16 ? V::load_f16(bits) : V::load_bf16(bits);
  }
}

// Not inlined: beside others in one function it lacks registers for the tokens' addresses.
template <tensor::DType type, int kTokens>
[[gnu::noinline]] void float_tokens(const std::byte* panel,
                                    std::int64_t cols,
                                    const float* x,
                                    float* y,
                                    std::int64_t y_stride,
                                    std::int64_t rows) {
  V acc[kTokens];
  for (auto& a : acc) {
    a = V::set1(0.0F);
  }
  for (std::int64_t k = 0; k < cols; ++k) {
    const V w = float_weights<type>(panel, k);
#pragma GCC unroll 16
    for (int j = 0; j < kTokens; ++j) {
      acc[j] = V::fma(w, V::set1(x[j * cols + k]), acc[j]);
    }
  }
  for (int j = 0; j < kTokens; ++j) {
    if (rows >= kPanelRows) {
      acc[j].store(y + j * y_stride);
    } else {
      float lanes[kPanelRows];
      acc[j].store(lanes);
      std::copy_n(lanes, rows, y + j * y_stride);
    }
  }
}

template <tensor::DType type>
void float_panel(const std::byte* panel,
                 std::int64_t cols,
                 const Activations& x,
                 float* y,
                 std::int64_t y_stride,
                 std::int64_t rows) {
  std::int64_t t = 0;
  const auto run_tiles = [&]<int kTokens>() {
    for (; t + kTokens <= x.rows; t += kTokens) {
      float_tokens<type, kTokens>(panel, cols, x.values + t * cols, y + t * y_stride, y_stride,
                                  rows);
    }
  };
  run_tiles.template operator()<kFloatTokens>();
  run_tiles.template operator()<4>();
  run_tiles.template operator()<1>();
}

void matmul(const PackedMatrix& w,
            std::int64_t panel_begin,
            std::int64_t panel_end,
            const Activations& x,
            float* y,
            std::int64_t y_stride,
            std::byte* scratch) {
  const std::int64_t bytes = panel_bytes(w.type, w.cols);
  for (std::int64_t p = panel_begin; p < panel_end; ++p) {
    const std::int64_t rows = std::min(kPanelRows, w.rows - p * kPanelRows);
    float* out = y + p * kPanelRows;
    if (w.low != nullptr && multiply_planes(w, p, x, out, y_stride, rows)) {
      continue;
    }
    const std::byte* panel = w.low != nullptr ? merge_panel(w, p, scratch) : w.data + p * bytes;
    const bool quantized = dispatch_quantized(w.type, [&]<tensor::DType type>() {
      quantized_panel<type>(panel, w.cols, x, out, y_stride, rows, scratch);
    });
    if (quantized) {
      continue;
    }
    if (w.type == tensor::DType::kF32) {
      float_panel<tensor::DType::kF32>(panel, w.cols, x, out, y_stride, rows);
    } else if (w.type == tensor::DType::kF16) {
      float_panel<tensor::DType::kF16>(panel, w.cols, x, out, y_stride, rows);
    } else {
      float_panel<tensor::DType::kBF16>(panel, w.cols, x, out, y_stride, rows);
    }
  }
}
