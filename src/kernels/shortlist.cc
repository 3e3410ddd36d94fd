#include "kernels/shortlist.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <functional>
#include <limits>
#include <span>

#include "base/check.h"
#include "kernels/planes.h"

namespace edgewise::kernels {
namespace {

constexpr float kLowest = -std::numeric_limits<float>::infinity();
// More survivors than one row in this many make a shortlist dearer than the product that it replaces.
constexpr std::int64_t kFewest = 4;
constexpr std::int64_t kLongestPause = 64;

// Of everything rounded on the way to a score, its bound and the exact product, relative to the sum of the absolute
// products: each of the chains has a rounding of 2^-24 a block and a few more. Four times that.
double rounding(std::int64_t blocks) {
  return 8.0 * static_cast<double>(blocks + 16) * 0x1p-24;
}

// For each block, what |scale| of a row is to be multiplied with: a low nibble is at most 7.5 from its middle, and a
// code at most 128.
void fill_slack(const Activations& x, std::vector<float>& slack) {
  const std::int64_t blocks = x.cols / kBlock;
  const double r = rounding(blocks);
  slack.resize(static_cast<std::size_t>(blocks));
  for (std::int64_t b = 0; b < blocks; ++b) {
    double size = 0.0;  // of the activations, in the 1-norm
    for (const std::int64_t t : {0, 1}) {
      const CodeBlock& block = x.row(t)[b];
      int sum = 0;
      for (const std::int8_t code : block.codes) {
        sum += std::abs(static_cast<int>(code));
      }
      size += static_cast<double>(sum) * static_cast<double>(block.scale);
    }
    slack[static_cast<std::size_t>(b)] =
        std::nextafter(static_cast<float>(size * (7.5 + 128.0 * r) * (1.0 + r)),
                       std::numeric_limits<float>::infinity());
  }
}

}  // namespace

struct Shortlist::Search {
  Ops* ops = nullptr;
  PackedMatrix w;
  Activations x;
  float* y = nullptr;
  std::int64_t y_stride = 0;

  std::vector<float> slack, score, upper, best, most;
  std::vector<std::uint8_t> exact;   // of each panel: its outputs are in y
  std::vector<std::uint8_t> wanted;  // of each panel: its outputs are to be computed
  std::vector<std::int64_t> panels;
  std::vector<float> outputs;
  std::vector<std::vector<std::byte>> scratch;  // of each worker

  void begin(Ops& with,
             const PackedMatrix& matrix,
             const Activations& activations,
             float* to,
             std::int64_t stride) {
    ops = &with;
    w = matrix;
    x = activations;
    y = to;
    y_stride = stride;
    const auto all = static_cast<std::size_t>(w.panels());
    score.resize(all * kPanelRows);
    upper.resize(all * kPanelRows);
    best.resize(all);
    most.resize(all);
    exact.assign(all, 0);
    wanted.reserve(all);
    panels.reserve(all);
    scratch.resize(static_cast<std::size_t>(ops->pool().size()));
    for (std::vector<std::byte>& one : scratch) {
      one.resize(static_cast<std::size_t>(matmul_scratch_bytes(w.cols)));
    }
  }

  std::int64_t rows_of(std::int64_t panel) const {
    return std::min(kPanelRows, w.rows - panel * kPanelRows);
  }

  void scan() {
    fill_slack(x, slack);
    const std::int64_t grain =
        std::max<std::int64_t>(1, 32768 / std::max<std::int64_t>(1, high_panel_bytes(w.cols)));
    ops->pool().parallel_for(w.panels(), grain, [&](std::int64_t begin, std::int64_t end, int) {
      ops->kernels().scan_planes(w, begin, end, x, slack.data(),
                                 {score.data(), upper.data(), best.data(), most.data()});
    });
  }

  // The panels with the highest scores into `panels`; false if some bound is not finite.
  bool choose_seeds(std::int64_t count) {
    const auto better = [this](std::int64_t a, std::int64_t b) {
      return best[static_cast<std::size_t>(a)] > best[static_cast<std::size_t>(b)];
    };
    panels.clear();
    bool is_finite = true;
    for (std::int64_t p = 0; p < w.panels(); ++p) {
      const float here = best[static_cast<std::size_t>(p)];
      is_finite = is_finite && !std::isnan(here);
      if (std::ssize(panels) < count) {
        panels.push_back(p);
        std::push_heap(panels.begin(), panels.end(), better);
      } else if (here > best[static_cast<std::size_t>(panels.front())]) {
        std::pop_heap(panels.begin(), panels.end(), better);
        panels.back() = p;
        std::push_heap(panels.begin(), panels.end(), better);
      }
    }
    return is_finite;
  }

  // Multiplies `panels` in full.
  void compute_exactly() {
    ops->pool().parallel_for(
        std::ssize(panels), 1, [&](std::int64_t begin, std::int64_t end, int worker) {
          for (std::int64_t i = begin; i < end; ++i) {
            const std::int64_t p = panels[static_cast<std::size_t>(i)];
            ops->kernels().matmul(w, p, p + 1, x, y, y_stride,
                                  scratch[static_cast<std::size_t>(worker)].data());
            float* out = y + p * kPanelRows;
            ops->kernels().add(out + y_stride, rows_of(p), out);
            exact[static_cast<std::size_t>(p)] = 1;
          }
        });
  }

  // The count-th largest output of the exact panels.
  float threshold(std::int64_t count) {
    outputs.clear();
    for (const std::int64_t p : panels) {
      outputs.insert(outputs.end(), y + p * kPanelRows, y + p * kPanelRows + rows_of(p));
    }
    const auto last = outputs.begin() + count - 1;
    std::nth_element(outputs.begin(), last, outputs.end(), std::greater<>());
    return *last;
  }

  std::int64_t count_survivors(float bar) const {
    std::int64_t survivors = 0;
    for (std::int64_t p = 0; p < w.panels(); ++p) {
      if (most[static_cast<std::size_t>(p)] >= bar) {
        const float* bounds = upper.data() + p * kPanelRows;
        for (std::int64_t row = 0; row < kPanelRows; ++row) {
          survivors += bounds[row] >= bar ? 1 : 0;
        }
      }
    }
    return survivors;
  }

  // Whether a row of the panel can still reach the bar when its low nibbles are known.
  bool reaches(std::int64_t panel, float bar) const {
    const float tolerance = static_cast<float>(32.0 * rounding(x.cols / kBlock));
    for (std::int64_t row = panel * kPanelRows; row < panel * kPanelRows + rows_of(panel); ++row) {
      const auto at = static_cast<std::size_t>(row);
      if (upper[at] >= bar) {
        const float sharper = score[at] + ops->kernels().low_part(w, row, x);
        if (!(sharper + tolerance * (upper[at] - score[at]) + 1e-30F < bar)) {
          return true;
        }
      }
    }
    return false;
  }

  // Leaves in `panels` those that still have a row to be computed exactly; -infinity for all other rows.
  void sharpen(float bar) {
    constexpr std::int64_t kGrain = 64;
    wanted.assign(exact.size(), 0);
    ops->pool().parallel_for(w.panels(), kGrain, [&](std::int64_t begin, std::int64_t end, int) {
      for (std::int64_t p = begin; p < end; ++p) {
        const auto at = static_cast<std::size_t>(p);
        if (exact[at] == 0) {
          std::fill_n(y + p * kPanelRows, rows_of(p), kLowest);
          wanted[at] = most[at] >= bar && reaches(p, bar) ? 1 : 0;
        }
      }
    });
    panels.clear();
    for (std::int64_t p = 0; p < w.panels(); ++p) {
      if (wanted[static_cast<std::size_t>(p)] != 0) {
        panels.push_back(p);
      }
    }
  }

  std::int64_t exact_rows() const {
    return kPanelRows * std::count(exact.begin(), exact.end(), std::uint8_t{1});
  }
};

Shortlist::Shortlist() : search_(std::make_unique<Search>()) {}

Shortlist::~Shortlist() = default;

bool Shortlist::must_wait(std::int64_t count) {
  if (waiting_ > 0 && count >= failed_count_) {
    --waiting_;
    return true;
  }
  return false;
}

void Shortlist::note(bool success, std::int64_t count) {
  if (success) {
    pause_ = count >= failed_count_ ? 0 : pause_;
    return;
  }
  ++counts_.fallbacks;
  pause_ = std::clamp<std::int64_t>(2 * pause_, 1, kLongestPause);
  waiting_ = pause_;
  failed_count_ = count;
}

bool Shortlist::find(Ops& ops,
                     const PackedMatrix& w,
                     const Activations& x,
                     std::int64_t count,
                     float* y,
                     std::int64_t y_stride) {
  CHECK(w.low != nullptr && x.rows == 2 && x.cols == w.cols && count >= 1);
  if (count > w.panels() || must_wait(count)) {
    return false;
  }
  Search& search = *search_;
  search.begin(ops, w, x, y, y_stride);
  search.scan();
  if (!search.choose_seeds(count)) {
    note(false, count);
    return false;
  }
  search.compute_exactly();
  const float bar = search.threshold(count);
  const std::int64_t survivors = search.count_survivors(bar);
  if (survivors * kFewest > w.rows) {
    note(false, count);
    return false;
  }
  search.sharpen(bar);
  search.compute_exactly();
  note(true, count);
  ++counts_.used;
  counts_.survivors += survivors;
  counts_.rescored += search.exact_rows();
  return true;
}

}  // namespace edgewise::kernels
