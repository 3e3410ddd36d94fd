#include "step_breakdown.h"

#include <fmt/format.h>

#include <algorithm>

#include "terminal.h"

namespace edgewise::app {
namespace {

using kernels::PhaseTimes;

double waited_s(const PhaseTimes& times, int workers) {
  return std::max(0.0, times.wall_s - times.busy_s / workers);
}

double gmac_per_s(const PhaseTimes& times) {
  return static_cast<double>(times.macs) / 1e9 / times.wall_s;
}

double read_gb_per_s(const PhaseTimes& times) {
  return static_cast<double>(times.weight_bytes) / 1e9 / times.wall_s;
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

std::string rate_and_share(double rate, double ceiling) {
  return fmt::format("{:.1f} ({:.0f} %)", rate, 100.0 * rate / ceiling);
}

void print_breakdown(std::string_view title,
                     const StepBreakdown& of,
                     const kernels::Ceilings& ceilings) {
  const Style style = Style::of_stdout();
  const PhaseTimes total = total_of(of.profile);
  write_out("\n{}{:<24} {:>8} {:>10} {:>9} {:>9} {:>18} {:>18}{}\n", style.bold, title, "loops",
            "ms", "of time", "waiting", "G MAC/s (int8)", "GB/s (memory)", style.reset);
  for_each_phase(of.profile, [&](std::string_view name, const PhaseTimes& times) {
    write_out("{:<24} {:>8} {:>10.2f} {:>9} {:>9} {:>18} {:>18}\n", name, times.loops,
              1e3 * times.wall_s, percent(times.wall_s / of.seconds),
              percent(waited_s(times, of.workers) / of.seconds),
              times.macs > 0 ? rate_and_share(gmac_per_s(times), ceilings.int8_gmac_per_s) : "",
              times.macs > 0 ? rate_and_share(read_gb_per_s(times), ceilings.dram_gb_per_s) : "");
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
      json.field("gmac_per_s", gmac_per_s(times));
      json.field("int8_share", gmac_per_s(times) / ceilings.int8_gmac_per_s);
      json.field("read_gb_per_s", read_gb_per_s(times));
      json.field("dram_share", read_gb_per_s(times) / ceilings.dram_gb_per_s);
    }
    json.end_object();
  });
  json.end_array();
  json.field("profiled_s", of.seconds);
}

}  // namespace edgewise::app
