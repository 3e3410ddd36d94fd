#include "simulate/svg_plot.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace edgewise::simulate {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

TEST(SvgPlot, TicksAreRoundAndSpanTheData) {
  EXPECT_THAT(round_ticks(0.0, 10.0, 5), ElementsAre(0, 2, 4, 6, 8, 10));
  EXPECT_THAT(round_ticks(5.0, 250.0, 8), ElementsAre(0, 50, 100, 150, 200, 250));
  EXPECT_THAT(round_ticks(0.0, 0.0, 5).size(), testing::Ge(2));
  EXPECT_THAT(round_ticks(3.0, 3.0, 5).size(), testing::Ge(2));
}

TEST(SvgPlot, DrawsEveryPointInsideThePicture) {
  const Plot plot{.title = "a < b & c",
                  .x_label = "x",
                  .y_label = "y",
                  .series = {{"one", {{0.0, 1.0, 0.5}, {10.0, 4.0, 0.0}}}, {"two", {{5.0, 2.0}}}}};
  const std::string svg = to_svg(plot);
  EXPECT_THAT(svg, HasSubstr("a &lt; b &amp; c"));
  EXPECT_THAT(svg, HasSubstr(R"(points="64.0,)"));  // x = 0 stands on the axis
  EXPECT_THAT(svg, HasSubstr("530.0,"));            // x = 10 at the right end
  EXPECT_THAT(svg, HasSubstr(">one</text>"));
  EXPECT_EQ(svg, to_svg(plot));
  EXPECT_THAT(svg, testing::Not(HasSubstr("nan")));
}

TEST(SvgPlot, OfNothingIsAnEmptyFrame) {
  const std::string svg = to_svg({});
  EXPECT_THAT(svg, HasSubstr("</svg>"));
  EXPECT_THAT(svg, testing::Not(HasSubstr("nan")));
  EXPECT_THAT(svg, testing::Not(HasSubstr("inf")));
}

}  // namespace
}  // namespace edgewise::simulate
