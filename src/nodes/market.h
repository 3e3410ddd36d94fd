// What the requests for one model are worth while they wait in front of several engines: by the rules of an engine
// (admission/worth.h; docs/serving.md, Who is let in), over the machines of all of them together. One thread.
#pragma once

#include <optional>
#include <span>

#include "admission/fair_share.h"
#include "admission/forecast.h"
#include "admission/machine_price.h"
#include "api/placement.h"

namespace edgewise::nodes {

bool has_deadline(const api::PlacedRequest& request);

class Market {
 public:
  using Clock = admission::Clock;

  void enter(const api::PlacedRequest& request);  // it waits
  void leave(const api::PlacedRequest& request);  // no more

  // Before a decision. `engines`: those that serve the model, as far as known. `newcomers`: who has not been decided about yet, and
  // from now on has a part in the price.
  void open(std::span<const admission::Load* const> engines,
            std::span<const api::PlacedRequest* const> newcomers,
            Clock::time_point now);
  // Not positive: not worth its time while there are others.
  double value_of(const api::PlacedRequest& request, Clock::time_point now) const;

  // Seconds of machine that its owner is charged with for being served; refund() takes them back.
  double charge(const api::PlacedRequest& request);
  void refund(const api::PlacedRequest& request, double seconds);

 private:
  double worth_of(const api::PlacedRequest& request, Clock::time_point now) const;
  double machine_seconds(const api::PlacedRequest& request) const;

  admission::MachinePrice price_;
  admission::FairShare fair_;
  std::optional<schedule::StepCost>
      cost_;                       // of the first known engine, which the others are compared with
  double price_per_second_ = 0.0;  // of such a machine
};

}  // namespace edgewise::nodes
