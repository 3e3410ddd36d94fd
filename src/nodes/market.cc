#include "nodes/market.h"

#include <algorithm>

#include "admission/worth.h"

namespace edgewise::nodes {
namespace {

using admission::MachinePrice;

constexpr std::int64_t kUsualPrompt = 256;  // tokens, to compare machines by
constexpr std::int64_t kUsualAnswer = 128;

double usual_seconds(const schedule::StepCost& cost) {
  return MachinePrice::machine_seconds(cost, kUsualPrompt, kUsualAnswer);
}

// Roughly: the same for all engines.
std::int64_t answer_tokens(const admission::Prospect& prospect) {
  return prospect.max_tokens > 0 && (prospect.ignore_eos || prospect.max_tokens < kUsualAnswer)
             ? prospect.max_tokens
             : std::max(kUsualAnswer, prospect.min_tokens);
}

}  // namespace

bool has_deadline(const api::PlacedRequest& request) {
  return request.prospect.deadline || request.prospect.first_token_deadline;
}

void Market::enter(const api::PlacedRequest& request) {
  fair_.enter(request.tenant);
}

void Market::leave(const api::PlacedRequest& request) {
  fair_.leave(request.tenant);
}

void Market::open(std::span<const admission::Load* const> engines,
                  std::span<const api::PlacedRequest* const> newcomers,
                  Clock::time_point now) {
  for (const api::PlacedRequest* request : newcomers) {
    if (has_deadline(*request)) {
      price_.observe({worth_of(*request, now), request->prompt_tokens,
                      request->sequences * answer_tokens(request->prospect)},
                     now);
    }
  }
  cost_.reset();
  double machines = 0.0;  // as many like the first are they together
  for (const admission::Load* load : engines) {
    cost_ = cost_.value_or(load->plain);
    machines += usual_seconds(*cost_) / usual_seconds(load->plain);
  }
  price_per_second_ = cost_ ? price_.per_second(*cost_, now, machines) : 0.0;
}

double Market::worth_of(const api::PlacedRequest& request, Clock::time_point now) const {
  const double waited_s =
      has_deadline(request) ? 0.0
                            : std::chrono::duration<double>(now - request.reply.arrived()).count();
  return admission::worth(static_cast<double>(request.service.priority.value_or(0)),
                          fair_.lead(request.tenant), waited_s);
}

double Market::machine_seconds(const api::PlacedRequest& request) const {
  return cost_ ? MachinePrice::machine_seconds(*cost_, request.prompt_tokens,
                                               request.sequences * answer_tokens(request.prospect))
               : 0.0;
}

// Who has no deadline keeps nobody out: he waits.
double Market::value_of(const api::PlacedRequest& request, Clock::time_point now) const {
  const double worth = worth_of(request, now);
  return has_deadline(request) ? worth - price_per_second_ * machine_seconds(request) : worth;
}

double Market::charge(const api::PlacedRequest& request) {
  const double seconds = machine_seconds(request);
  fair_.charge(request.tenant, seconds, request.share);
  return seconds;
}

void Market::refund(const api::PlacedRequest& request, double seconds) {
  fair_.charge(request.tenant, -seconds, request.share);
}

}  // namespace edgewise::nodes
