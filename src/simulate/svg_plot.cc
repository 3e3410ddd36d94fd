#include "simulate/svg_plot.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>

namespace edgewise::simulate {
namespace {

constexpr double kWidth = 720.0;
constexpr double kHeight = 420.0;
constexpr double kLeft = 64.0;
constexpr double kRight = 190.0;  // the legend stands there
constexpr double kTop = 40.0;
constexpr double kBottom = 56.0;

// Okabe and Ito's colours, which people with any colour vision can tell apart.
constexpr std::array<const char*, 8> kColours = {"#0072B2", "#D55E00", "#009E73", "#CC79A7",
                                                 "#E69F00", "#56B4E9", "#000000", "#999999"};

std::string escaped(const std::string& text) {
  std::string out;
  for (const char c : text) {
    switch (c) {
      case '&':
        out += "&amp;";
        break;
      case '<':
        out += "&lt;";
        break;
      case '>':
        out += "&gt;";
        break;
      default:
        out += c;
    }
  }
  return out;
}

class Canvas {
 public:
  explicit Canvas(const Plot& plot) : plot_(plot) {
    double least_x = INFINITY;
    double most_x = -INFINITY;
    double most_y = 0.0;
    for (const PlotSeries& series : plot.series) {
      for (const PlotPoint& point : series.points) {
        least_x = std::min(least_x, point.x);
        most_x = std::max(most_x, point.x);
        most_y = std::max(most_y, point.y + point.half_width);
      }
    }
    if (least_x > most_x) {
      least_x = most_x = 0.0;
    }
    x_ticks_ = round_ticks(least_x, most_x, 8);
    y_ticks_ = round_ticks(0.0, most_y, 6);
  }

  std::string draw() {
    out_ = fmt::format(
        R"(<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {0} {1}" width="{0}" height="{1}" )"
        R"(font-family="sans-serif" font-size="12">)"
        "\n"
        R"(<rect width="{0}" height="{1}" fill="white"/>)"
        "\n",
        kWidth, kHeight);
    draw_axes();
    for (std::size_t i = 0; i < plot_.series.size(); ++i) {
      draw_series(i);
    }
    return out_ + "</svg>\n";
  }

 private:
  double x(double value) const {
    const double span = x_ticks_.back() - x_ticks_.front();
    return kLeft + (value - x_ticks_.front()) / span * (kWidth - kLeft - kRight);
  }

  double y(double value) const {
    return kHeight - kBottom - value / y_ticks_.back() * (kHeight - kTop - kBottom);
  }

  void text(double at_x, double at_y, const char* anchor, const std::string& words, int size = 12) {
    out_ += fmt::format(R"(<text x="{:.1f}" y="{:.1f}" text-anchor="{}" font-size="{}">{}</text>)"
                        "\n",
                        at_x, at_y, anchor, size, escaped(words));
  }

  void line(double x1, double y1, double x2, double y2, const char* colour) {
    out_ += fmt::format(R"(<line x1="{:.1f}" y1="{:.1f}" x2="{:.1f}" y2="{:.1f}" stroke="{}"/>)"
                        "\n",
                        x1, y1, x2, y2, colour);
  }

  void draw_axes() {
    for (const double tick : y_ticks_) {
      line(kLeft, y(tick), kWidth - kRight, y(tick), "#dddddd");
      text(kLeft - 6.0, y(tick) + 4.0, "end", fmt::format("{:g}", tick));
    }
    for (const double tick : x_ticks_) {
      line(x(tick), kHeight - kBottom, x(tick), kHeight - kBottom + 5.0, "#000000");
      text(x(tick), kHeight - kBottom + 19.0, "middle", fmt::format("{:g}", tick));
    }
    line(kLeft, kHeight - kBottom, kWidth - kRight, kHeight - kBottom, "#000000");
    line(kLeft, kTop, kLeft, kHeight - kBottom, "#000000");
    text((kLeft + kWidth - kRight) / 2.0, 22.0, "middle", plot_.title, 14);
    text((kLeft + kWidth - kRight) / 2.0, kHeight - 14.0, "middle", plot_.x_label);
    out_ += fmt::format(
        R"x(<text transform="translate(16 {:.1f}) rotate(-90)" text-anchor="middle">{}</text>)x"
        "\n",
        (kTop + kHeight - kBottom) / 2.0, escaped(plot_.y_label));
  }

  void draw_series(std::size_t i) {
    const PlotSeries& series = plot_.series[i];
    const char* colour = kColours[i % kColours.size()];
    std::string path;
    for (const PlotPoint& point : series.points) {
      path += fmt::format("{:.1f},{:.1f} ", x(point.x), y(point.y));
      if (point.half_width > 0.0) {
        line(x(point.x), y(std::max(0.0, point.y - point.half_width)), x(point.x),
             y(point.y + point.half_width), colour);
      }
      mark(x(point.x), y(point.y), i);
    }
    out_ += fmt::format(R"(<polyline points="{}" fill="none" stroke="{}" stroke-width="1.8"/>)"
                        "\n",
                        path, colour);
    const double legend_y = kTop + 10.0 + 20.0 * static_cast<double>(i);
    line(kWidth - kRight + 12.0, legend_y, kWidth - kRight + 36.0, legend_y, colour);
    mark(kWidth - kRight + 24.0, legend_y, i);
    text(kWidth - kRight + 42.0, legend_y + 4.0, "start", series.label);
  }

  void mark(double at_x, double at_y, std::size_t i) {
    const char* colour = kColours[i % kColours.size()];
    switch (i % 3) {
      case 0:
        out_ += fmt::format(R"(<circle cx="{:.1f}" cy="{:.1f}" r="3.5" fill="{}"/>)"
                            "\n",
                            at_x, at_y, colour);
        break;
      case 1:
        out_ += fmt::format(R"(<rect x="{:.1f}" y="{:.1f}" width="7" height="7" fill="{}"/>)"
                            "\n",
                            at_x - 3.5, at_y - 3.5, colour);
        break;
      default:
        out_ +=
            fmt::format(R"(<polygon points="{:.1f},{:.1f} {:.1f},{:.1f} {:.1f},{:.1f}" fill="{}"/>)"
                        "\n",
                        at_x, at_y - 4.5, at_x - 4.0, at_y + 3.0, at_x + 4.0, at_y + 3.0, colour);
    }
  }

  const Plot& plot_;
  std::vector<double> x_ticks_;
  std::vector<double> y_ticks_;
  std::string out_;
};

}  // namespace

std::vector<double> round_ticks(double least, double most, int count) {
  const double span = most > least ? most - least : std::max(1.0, std::abs(most));
  const double rough = span / count;
  const double power = std::pow(10.0, std::floor(std::log10(rough)));
  double step = 10.0 * power;
  for (const double factor : {1.0, 2.0, 5.0}) {
    if (factor * power >= rough * (1.0 - 1e-9)) {
      step = factor * power;
      break;
    }
  }
  const auto first = static_cast<std::int64_t>(std::floor(least / step + 1e-9));
  const auto last = std::max(static_cast<std::int64_t>(std::ceil(most / step - 1e-9)), first + 1);
  std::vector<double> ticks;
  for (std::int64_t k = first; k <= last; ++k) {
    ticks.push_back(static_cast<double>(k) * step);
  }
  return ticks;
}

std::string to_svg(const Plot& plot) {
  return Canvas(plot).draw();
}

}  // namespace edgewise::simulate
