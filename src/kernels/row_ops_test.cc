#include <gtest/gtest.h>

#include <cmath>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <string>

#include "kernels/kernel_table.h"
#include "kernels/test_support.h"

namespace edgewise::kernels {
namespace {

// What emulates a processor says which tables it can run, so that none is left out unseen.
TEST(Tables, AreThoseThatTheMachineRuns) {
  std::string names;
  for (const KernelTable* table : supported_tables()) {
    names += names.empty() ? "" : " ";
    names += table->name;
  }
  const char* expected = std::getenv("EDGEWISE_TEST_TABLES");
  if (expected != nullptr) {
    EXPECT_EQ(names, expected);
  }
  EXPECT_TRUE(names.starts_with("portable")) << names;
}

using testing::random_floats;

constexpr std::int64_t kSizes[] = {1, 15, 16, 17, 100, 576};

// Runs an in-place row operation on every table and size; checks it against `plain` and for equal bits.
void check(const std::function<void(const KernelTable&, std::vector<float>&)>& run,
           const std::function<void(std::vector<double>&)>& plain,
           double tolerance) {
  for (const std::int64_t n : kSizes) {
    const std::vector<float> input = random_floats(n, static_cast<unsigned>(n), 4.0F);
    std::vector<double> expected(input.begin(), input.end());
    plain(expected);
    std::vector<float> first;
    for (const KernelTable* table : supported_tables()) {
      std::vector<float> out = input;
      run(*table, out);
      for (std::size_t i = 0; i < out.size(); ++i) {
        ASSERT_NEAR(out[i], expected[i], tolerance * (1 + std::abs(expected[i])))
            << table->name << " n " << n << " at " << i;
      }
      if (first.empty()) {
        first = out;
      }
      ASSERT_EQ(0, std::memcmp(first.data(), out.data(), out.size() * 4))
          << table->name << " n " << n;
    }
  }
}

TEST(RowOps, RmsNorm) {
  check(
      [](const KernelTable& t, std::vector<float>& x) {
        t.rms_norm(x.data(), nullptr, 1e-5F, std::ssize(x), x.data());
      },
      [](std::vector<double>& x) {
        double squares = 0;
        for (const double v : x) {
          squares += v * v;
        }
        for (double& v : x) {
          v /= std::sqrt(squares / static_cast<double>(x.size()) + 1e-5);
        }
      },
      2e-6);
}

TEST(RowOps, LayerNorm) {
  check(
      [](const KernelTable& t, std::vector<float>& x) {
        const std::vector<float> weight(x.size(), 2.0F), bias(x.size(), 0.5F);
        t.layer_norm(x.data(), weight.data(), bias.data(), 1e-5F, std::ssize(x), x.data());
      },
      [](std::vector<double>& x) {
        double mean = 0, squares = 0;
        for (const double v : x) {
          mean += v / static_cast<double>(x.size());
        }
        for (const double v : x) {
          squares += (v - mean) * (v - mean) / static_cast<double>(x.size());
        }
        for (double& v : x) {
          v = (v - mean) / std::sqrt(squares + 1e-5) * 2.0 + 0.5;
        }
      },
      5e-6);
}

TEST(RowOps, SiluTimesUp) {
  check(
      [](const KernelTable& t, std::vector<float>& x) {
        const std::vector<float> up(x.size(), 3.0F);
        t.silu_mul(x.data(), up.data(), std::ssize(x), x.data());
      },
      [](std::vector<double>& x) {
        for (double& v : x) {
          v = v / (1 + std::exp(-v)) * 3.0;
        }
      },
      1e-6);
}

TEST(RowOps, Gelu) {
  check([](const KernelTable& t,
           std::vector<float>& x) { t.gelu_mul(x.data(), nullptr, std::ssize(x), x.data()); },
        [](std::vector<double>& x) {
          for (double& v : x) {
            v = 0.5 * v * (1 + std::tanh(std::sqrt(2 / M_PI) * (v + 0.044715 * v * v * v)));
          }
        },
        1e-6);
}

TEST(RowOps, GeluByItsDefinition) {
  check(
      [](const KernelTable& t, std::vector<float>& x) {
        const std::vector<float> up(x.size(), 3.0F);
        t.gelu_erf_mul(x.data(), nullptr, std::ssize(x), x.data());
        t.gelu_erf_mul(x.data(), up.data(), std::ssize(x), x.data());
      },
      [](std::vector<double>& x) {
        for (double& v : x) {
          v = 0.5 * v * std::erfc(-v / std::sqrt(2.0));
          v = 1.5 * v * std::erfc(-v / std::sqrt(2.0));
        }
      },
      5e-7);
}

TEST(RowOps, Softmax) {
  check([](const KernelTable& t, std::vector<float>& x) { t.softmax(std::ssize(x), x.data()); },
        [](std::vector<double>& x) {
          double total = 0;
          for (double& v : x) {
            total += v = std::exp(v);
          }
          for (double& v : x) {
            v /= total;
          }
        },
        1e-6);
}

TEST(RowOps, SoftcapAddAndScale) {
  check(
      [](const KernelTable& t, std::vector<float>& x) {
        const std::vector<float> y = x;
        t.softcap(5.0F, std::ssize(x), x.data());
        t.add(y.data(), std::ssize(x), x.data());
        t.add_scaled(y.data(), 0.25F, std::ssize(x), x.data());
        t.scale(2.0F, std::ssize(x), x.data());
      },
      [](std::vector<double>& x) {
        for (double& v : x) {
          v = (5 * std::tanh(v / 5) + v * 1.25) * 2;
        }
      },
      2e-6);
}

TEST(RowOps, RopeRotatesPairs) {
  const std::vector<float> angles = {0.1F, 0.7F, 2.0F, 3.1F};
  std::vector<float> cos, sin;
  for (const float a : angles) {
    cos.push_back(std::cos(a));
    sin.push_back(std::sin(a));
  }
  const std::vector<float> input = random_floats(2 * 10, 4);
  for (const RopeStyle style : {RopeStyle::kNorm, RopeStyle::kNeox}) {
    for (const KernelTable* table : supported_tables()) {
      std::vector<float> x = input;
      table->rope(style, x.data(), 2, 10, 8, cos.data(), sin.data());
      for (int head = 0; head < 2; ++head) {
        for (int i = 0; i < 4; ++i) {
          const int a = head * 10 + (style == RopeStyle::kNorm ? 2 * i : i);
          const int b = head * 10 + (style == RopeStyle::kNorm ? 2 * i + 1 : i + 4);
          const auto at = [&](int j) {
            return static_cast<double>(input[static_cast<std::size_t>(j)]);
          };
          const double angle = angles[static_cast<std::size_t>(i)];
          EXPECT_NEAR(x[static_cast<std::size_t>(a)],
                      at(a) * std::cos(angle) - at(b) * std::sin(angle), 1e-6);
          EXPECT_NEAR(x[static_cast<std::size_t>(b)],
                      at(a) * std::sin(angle) + at(b) * std::cos(angle), 1e-6);
        }
        EXPECT_EQ(x[static_cast<std::size_t>(head * 10 + 9)],
                  input[static_cast<std::size_t>(head * 10 + 9)]);
      }
    }
  }
}

// Products and sums rounded one by one, with pairs beyond whole vectors and values that do not turn.
TEST(RowOps, RopeGivesTheSameBitsEverywhere) {
  constexpr std::int64_t kHeads = 3, kHeadDim = 48, kRotated = 40, kHalf = kRotated / 2;
  const std::vector<float> cos = random_floats(kHalf, 6);
  const std::vector<float> sin = random_floats(kHalf, 7);
  const std::vector<float> input = random_floats(kHeads * kHeadDim, 8);
  for (const RopeStyle style : {RopeStyle::kNorm, RopeStyle::kNeox}) {
    std::vector<float> expected = input;
    for (std::int64_t h = 0; h < kHeads; ++h) {
      for (std::int64_t i = 0; i < kHalf; ++i) {
        const bool neighbours = style == RopeStyle::kNorm;
        float& a = expected[static_cast<std::size_t>(h * kHeadDim + (neighbours ? 2 * i : i))];
        float& b = *(&a + (neighbours ? 1 : kHalf));
        const auto at = static_cast<std::size_t>(i);
        const float turned = a * cos[at] - b * sin[at];
        b = a * sin[at] + b * cos[at];
        a = turned;
      }
    }
    for (const KernelTable* table : supported_tables()) {
      std::vector<float> x = input;
      table->rope(style, x.data(), kHeads, kHeadDim, kRotated, cos.data(), sin.data());
      EXPECT_EQ(0, std::memcmp(x.data(), expected.data(), x.size() * 4)) << table->name;
    }
  }
}

}  // namespace
}  // namespace edgewise::kernels
