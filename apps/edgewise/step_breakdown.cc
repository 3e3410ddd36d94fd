#include "step_breakdown.h"

#include <fmt/format.h>

#include <algorithm>
#include <string>

#include "terminal.h"

namespace edgewise::app {
namespace {

using kernels::PhaseTimes;

double waited_s(const PhaseTimes& times, int workers) {
  return std::max(0.0, times.wall_s - times.busy_s / workers);
}

double int8_share(const PhaseTimes& times, const kernels::Ceilings& ceilings) {
  return static_cast<double>(times.macs) / 1e9 / times.wall_s / ceilings.int8_gmac_per_s;
}

double dram_share(const PhaseTimes& times, const kernels::Ceilings& ceilings) {
  return static_cast<double>(times.weight_bytes) / 1e9 / times.wall_s / ceilings.dram_gb_per_s;
}

PhaseTimes total_of(const kernels::StepProfile& profile) {
  PhaseTimes total;
  for (const PhaseTimes& times : profile.phases) {
    total.loops += times.loops;
    total.wall_s += times.wall_s;
    total.busy_s += times.busy_s;
  }
  return total;
}

template <typename Body>
void for_each_phase(const kernels::StepProfile& profile, Body body) {
  for (std::size_t i = 0; i < profile.phases.size(); ++i) {
    if (profile.phases[i].loops > 0) {
      body(kernels::kPhaseNames[i], profile.phases[i]);
    }
  }
}

std::string percent(double share) {
  return fmt::format("{:.1f} %", 100.0 * share);
}

}  // namespace

void print_breakdown(std::string_view title,
                     const StepBreakdown& of,
                     const kernels::Ceilings& ceilings) {
  const Style style = Style::of_stdout();
  const PhaseTimes total = total_of(of.profile);
  write_out("\n{}{:<24} {:>8} {:>10} {:>9} {:>9} {:>9} {:>10}{}\n", style.bold, title, "loops",
            "ms", "of time", "waiting", "of int8", "of memory", style.reset);
  for_each_phase(of.profile, [&](std::string_view name, const PhaseTimes& times) {
    write_out("{:<24} {:>8} {:>10.2f} {:>9} {:>9} {:>9} {:>10}\n", name, times.loops,
              1e3 * times.wall_s, percent(times.wall_s / of.seconds),
              percent(waited_s(times, of.workers) / of.seconds),
              times.macs > 0 ? percent(int8_share(times, ceilings)) : "",
              times.macs > 0 ? percent(dram_share(times, ceilings)) : "");
  });
  const double between_s = std::max(0.0, of.seconds - total.wall_s);
  write_out("{:<24} {:>8} {:>10.2f} {:>9}\n", "between the loops", "", 1e3 * between_s,
            percent(between_s / of.seconds));
  write_out("{:<24} {:>8} {:>10.2f} {:>9} {:>9}\n", "all", total.loops, 1e3 * of.seconds, "",
            percent(waited_s(total, of.workers) / of.seconds));
}

void print_breakdown(JsonWriter& json, const StepBreakdown& of, const kernels::Ceilings& ceilings) {
  json.key("phases");
  json.begin_array();
  for_each_phase(of.profile, [&](std::string_view name, const PhaseTimes& times) {
    json.begin_object();
    json.field("phase", name);
    json.field("loops", times.loops);
    json.field("seconds", times.wall_s);
    json.field("waiting_s", waited_s(times, of.workers));
    if (times.macs > 0) {
      json.field("int8_share", int8_share(times, ceilings));
      json.field("dram_share", dram_share(times, ceilings));
    }
    json.end_object();
  });
  json.end_array();
  json.field("profiled_s", of.seconds);
}

}  // namespace edgewise::app
