// Line plots with error bars as SVG text: no library, no fonts of its own, the same input gives the same bytes.
#pragma once

#include <string>
#include <vector>

namespace edgewise::simulate {

struct PlotPoint {
  double x = 0.0;
  double y = 0.0;
  double half_width = 0.0;  // of the error bar
};

struct PlotSeries {
  std::string label;
  std::vector<PlotPoint> points;  // x ascending
};

struct Plot {
  std::string title;
  std::string x_label;
  std::string y_label;
  std::vector<PlotSeries> series;
};

// The y axis begins at 0. Lines differ in colour and in the shape of their marks.
std::string to_svg(const Plot& plot);

// About `count` round numbers that span [0 or least, most]: 1, 2 or 5 times a power of ten apart.
std::vector<double> round_ticks(double least, double most, int count);

}  // namespace edgewise::simulate
