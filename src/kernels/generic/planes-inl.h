// The first pass of a shortlist over the high plane (planes.h), in vectors of 16 rows. Included by each instruction
// set's table, which defines V and high_dots() before.

// Scores of the panels' rows for the two rows of x together, with every low nibble at its middle of 7.5, and what the
// exact product can be at most: score + sum over the blocks of |scale| * slack[block]. See PlaneScores.
inline void scan_planes(const PackedMatrix& w,
                        std::int64_t panel_begin,
                        std::int64_t panel_end,
                        const Activations& x,
                        const float* slack,
                        const PlaneScores& out) {
  const std::int64_t blocks = w.cols / kBlock;
  for (std::int64_t p = panel_begin; p < panel_end; ++p) {
    const std::byte* panel = w.data + p * high_panel_bytes(w.cols);
    const auto* scales = reinterpret_cast<const std::uint16_t*>(panel);
    V first = V::set1(0.0F);
    V second = V::set1(0.0F);
    V bound = V::set1(1e-30F);  // of products that underflow
    for (std::int64_t b = 0; b < blocks; ++b) {
      prefetch_ahead(panel + b * kHighBlockBytes, kHighBlockBytes);
      V dots[2];  // twice the integer sums: the middle is no integer
      high_dots(panel + blocks * 32 + b * 256, x, b, dots);
      const V d = V::load_f16(scales + b * kPanelRows);
      first = V::fma(dots[0], V::mul(d, V::set1(0.5F * x.row(0)[b].scale)), first);
      second = V::fma(dots[1], V::mul(d, V::set1(0.5F * x.row(1)[b].scale)), second);
      bound = V::fma(V::abs(d), V::set1(slack[b]), bound);
    }
    const V score = V::add(first, second);
    const V upper = V::add(score, bound);
    float* scores = out.score + p * kPanelRows;
    float* uppers = out.upper + p * kPanelRows;
    score.store(scores);
    upper.store(uppers);
    const bool is_finite = V::mul(upper, V::set1(0.0F)).sum() == 0.0F;
    for (std::int64_t row = w.rows - p * kPanelRows; row < kPanelRows; ++row) {  // padding
      scores[row] = uppers[row] = -std::numeric_limits<float>::infinity();
    }
    constexpr float kNaN = std::numeric_limits<float>::quiet_NaN();
    out.best[p] = is_finite ? V::load(scores).highest() : kNaN;
    out.most[p] = is_finite ? V::load(uppers).highest() : kNaN;
  }
}
