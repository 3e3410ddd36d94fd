// What another server says of its load, and what is decided by it.
#include <cstdlib>
#include <string_view>
#include <vector>

#include "admission/dispatch.h"
#include "api/load_json.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace edgewise;
  const auto load = api::parse_load({reinterpret_cast<const char*>(data), size});
  if (!load) {
    return 0;
  }
  std::vector<const admission::Load*> engines;
  for (const api::ModelLoad& model : load->models) {
    engines.push_back(model.load ? &*model.load : nullptr);
  }
  const auto now = admission::Clock::time_point() + std::chrono::hours(1);
  std::vector<admission::Applicant> applicants(4);
  for (std::size_t i = 0; i < applicants.size(); ++i) {
    applicants[i].prospect = {.prompt_tokens = 10, .max_tokens = 20};
    applicants[i].may_go.assign(engines.size(), true);
    if (i % 2 == 0) {
      applicants[i].prospect.deadline = now + std::chrono::seconds(i + 1);
    }
  }
  int steps = 0;
  const admission::Dispatch found = admission::dispatch(
      engines, applicants, now, {.max_nodes = 1000, .out_of_time = [&] { return ++steps > 1000; }});
  for (const std::int32_t engine : found.engine) {
    if (engine != admission::Dispatch::kWaits &&
        engines.at(static_cast<std::size_t>(engine)) == nullptr) {
      std::abort();
    }
  }
  return 0;
}
