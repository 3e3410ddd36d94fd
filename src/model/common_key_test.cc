#include "model/common_key.h"

#include <gtest/gtest.h>

namespace edgewise::model {
namespace {

// Two heads of 8 channels, 6 of them turned in 3 pairs, of which the last two turn by 1 and 0.5 radians over the context.
struct Setting {
  Setting() {
    spec.head_dim = 8;
    spec.rope_dims = 6;
    spec.context = 100;
    spec.ropes.resize(1);
    spec.ropes[0].magnitude = 2.0;
  }

  std::vector<float> common() const { return common_key(spec, {}, bias, frequencies); }

  ModelSpec spec;
  std::vector<double> frequencies{1.0, 0.01, 0.005};
  std::vector<float> bias{1, 2, 3, 4, 5, 6, 7, 8, -1, -2, -3, -4, -5, -6, -7, -8};
};

TEST(CommonKey, IsTheBiasWhereTheRopeHardlyTurns) {
  Setting s;
  s.spec.rope_style = kernels::RopeStyle::kNeox;  // pairs (0, 3), (1, 4), (2, 5)
  EXPECT_EQ(s.common(),
            (std::vector<float>{0, 4, 6, 0, 10, 12, 7, 8, 0, -4, -6, 0, -10, -12, -7, -8}));
  s.spec.rope_style = kernels::RopeStyle::kNorm;  // pairs (0, 1), (2, 3), (4, 5)
  EXPECT_EQ(s.common(),
            (std::vector<float>{0, 0, 6, 8, 10, 12, 7, 8, 0, 0, -6, -8, -10, -12, -7, -8}));
}

TEST(CommonKey, IsTheWholeBiasWithoutRope) {
  const Setting s;
  EXPECT_EQ(common_key(s.spec, {.rope = false}, s.bias, {}), s.bias);
}

TEST(CommonKey, IsNothingWithoutBiasOrWithCappedScores) {
  Setting s;
  s.spec.attention_softcap = 30.0F;
  EXPECT_TRUE(s.common().empty());
  s.spec.attention_softcap = 0.0F;
  s.bias.clear();
  EXPECT_TRUE(s.common().empty());
}

}  // namespace
}  // namespace edgewise::model
