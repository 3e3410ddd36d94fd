// Which member of a group answers a request: among those that are measured to be as accurate as it asks,
// and are forecast to be in time, the one whose engine it costs least. Where none would be in time, the one
// that would be least late: its admission refuses, or finds a way.
#pragma once

#include <optional>
#include <span>

#include "api/backend.h"
#include "api/served_models.h"

namespace edgewise::api {

// The index of the one to take; at least one forecast.
std::size_t choose(std::span<const admission::Forecast> forecasts);

// Of `members`, at least one of which is accurate enough.
std::shared_ptr<Backend> choose_member(ServedModels::Members members,
                                       double min_accuracy,
                                       const admission::Prospect& prospect);

}  // namespace edgewise::api
