// What the tools that measure kernels share: a pool of workers with the machine's kernels, and its ceilings, measured at the
// start.
#pragma once

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <memory>

#include "kernels/ceilings.h"
#include "kernels/ops.h"
#include "platform/cpu.h"

namespace edgewise {

struct Machine {
  Machine(int threads, const kernels::KernelTable& table) : pool(threads), ops(pool, table) {}

  platform::WorkerPool pool;
  kernels::Ops ops;
  kernels::Ceilings ceilings;
};

// Says on standard error why there is none (nullptr), else on standard output what it is, unless `quiet`.
inline std::unique_ptr<Machine> open_machine(int threads, bool quiet = false) {
  const auto table = kernels::select_table();
  if (!table) {
    fmt::print(stderr, "{}\n", table.error().message);
    return nullptr;
  }
  auto machine = std::make_unique<Machine>(threads, **table);
  const auto ceilings = kernels::measure_ceilings(machine->pool);
  if (!ceilings) {
    fmt::print(stderr, "{}\n", ceilings.error().message);
    return nullptr;
  }
  machine->ceilings = *ceilings;
  if (!quiet) {
    fmt::print(
        "{}, {} kernels, {} threads; memory {:.1f} GB/s, int8 {:.0f}, f32 {:.0f} G "
        "multiply-adds/s\n",
        platform::cpu_model_name(), (*table)->name, machine->pool.size(), ceilings->dram_gb_per_s,
        ceilings->int8_gmac_per_s, ceilings->f32_gmac_per_s);
  }
  return machine;
}

inline void add_common_options(CLI::App& app, int& threads, int& rounds) {
  app.add_option("--threads", threads, "Threads (default: what affinity and cgroup allow)")
      ->check(CLI::Range(1, 1024));
  app.add_option("--rounds", rounds, "Rounds of each test; the median counts")
      ->check(CLI::Range(1, 1000));
}

}  // namespace edgewise
